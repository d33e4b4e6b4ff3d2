package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// localEnv is where the local stack writes its addresses, from the root of the
// repository.
const localEnv = "build/local/env"

type settings struct {
	URL      string // base of the API, without a slash at the end
	EntraURL string // of the local stack
	Token    string
	Audience string // client id of jitgate's app registration
}

// settings reads the environment and, when that names no installation, the file
// the local stack wrote.
func (a *App) settings() (settings, error) {
	s := settings{
		URL: a.Getenv("JITGATE_URL"), EntraURL: a.Getenv("JITGATE_ENTRA_URL"),
		Token: a.Getenv("JITGATE_TOKEN"), Audience: a.Getenv("JITGATE_AUDIENCE"),
	}
	if s.URL == "" {
		if err := s.readLocal(); err != nil {
			return s, err
		}
		a.detail("settings: JITGATE_URL=%s from the file %s", s.URL, localEnv)
	} else {
		a.detail("settings: JITGATE_URL=%s from the environment", s.URL)
	}
	for name, address := range map[string]*string{"JITGATE_URL": &s.URL, "JITGATE_ENTRA_URL": &s.EntraURL} {
		*address = strings.TrimRight(*address, "/")
		if err := checkURL(name, *address); err != nil {
			return s, err
		}
	}
	return s, nil
}

// readLocal takes the two addresses from the local stack's file. They must be on
// this machine: the file is found by the working directory, and a folder somebody
// else wrote must not be able to say where tokens are sent.
func (s *settings) readLocal() error {
	text, err := os.ReadFile(localEnv)
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{exit: exitUsage, sentence: "no installation is named", hints: []string{
			"set JITGATE_URL, for example JITGATE_URL=https://jit.example.org",
			`or start the local stack with "make run" and work in the same folder: its addresses are read from ` + localEnv,
		}}
	}
	if err != nil {
		return fmt.Errorf("read the local stack's addresses: %w", err)
	}
	values := parseEnv(text)
	if s.URL = values["JITGATE_URL"]; s.URL == "" {
		return usage("%s names no JITGATE_URL; is the local stack still starting?", localEnv)
	}
	if s.EntraURL == "" {
		s.EntraURL = values["JITGATE_ENTRA_URL"]
	}
	for _, address := range []string{s.URL, s.EntraURL} {
		if u, err := url.Parse(address); address != "" && (err != nil || !onThisMachine(u)) {
			return usage("%s names %q, which is not on this machine; set JITGATE_URL if you mean it", localEnv, address)
		}
	}
	return nil
}

// parseEnv reads KEY=value lines. Lines that are none are passed over: the file
// is not ours.
func parseEnv(text []byte) map[string]string {
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "="); ok {
			values[key] = value
		}
	}
	return values
}

// checkURL refuses to send tokens in the clear.
func checkURL(name, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return usage("%s is not the address of a service; write one such as https://jit.example.org", name)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !onThisMachine(u)) {
		return usage("%s must start with https://: tokens are not sent unprotected (http:// is for 127.0.0.1 only)", name)
	}
	return nil
}

func onThisMachine(u *url.URL) bool {
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || (err == nil && address.IsLoopback())
}

func settingsTopic() *cobra.Command {
	return &cobra.Command{Use: "settings", Short: "The environment variables that are read", Long: `jitgate reads these environment variables:

  JITGATE_URL         where the API is, for example https://jit.example.org. Left out:
                      the address in the file ` + localEnv + `, which the local stack
                      writes and which is looked for in the working directory
  JITGATE_TOKEN       the access token to use. Goes before all other ways to sign in
  JITGATE_AUDIENCE    client id of jitgate's app registration. With it, and without a
                      token or a stored login, the token comes from azure-cli, for the
                      scope api://JITGATE_AUDIENCE/.default
  JITGATE_ENTRA_URL   where the local stack signs people in. Left out: as JITGATE_URL
  JITGATE_CONFIG_DIR  folder of token.json, the stored login. Left out: jitgate in the
                      user's configuration folder
  NO_COLOR            anything: no colours
`}
}
