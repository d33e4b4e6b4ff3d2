package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const howToSignIn = `There are three ways to sign in:

  local stack   jitgate login --as NAME
                keeps a token of the stack's demo person NAME
  azure-cli     az login, and JITGATE_AUDIENCE set to the client id of jitgate's app
                registration; nothing else is needed, no "jitgate login" either
  any token     JITGATE_TOKEN set to an access token for jitgate; goes before the others
`

func (a *App) loginCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in to the local stack, or explain how to sign in to Azure",
		Long: howToSignIn + `
A stored login is used only for the installation it was made for. It is kept in
token.json in the user's configuration folder, readable by the user alone.`,
		Example: `  jitgate login --as alice
  JITGATE_AUDIENCE=33333333-3333-3333-3333-333333333333 jitgate list`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&name, "as", "", "name of a person of the local stack")
	c.RunE = a.run(func(c *cobra.Command, _ []string) error {
		if name == "" {
			_, _ = io.WriteString(a.Stderr, howToSignIn)
			return nil
		}
		return a.login(c.Context(), name)
	})
	return c
}

func (a *App) login(ctx context.Context, name string) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	if s.EntraURL == "" {
		return &failure{exit: exitUsage, sentence: "no local stack is known to sign in to", hints: []string{
			`set JITGATE_ENTRA_URL to its address, or work where "make run" has started it`,
			`"jitgate login" explains how to sign in to Azure`,
		}}
	}
	token, expires, err := a.localToken(ctx, s.EntraURL, name)
	if err != nil {
		return err
	}
	l := login{URL: s.URL, Name: name, AccessToken: token, ExpiresOn: expires}
	path, err := a.saveLogin(l)
	if err != nil {
		return err
	}
	a.say("signed in to %s as %s until %s; stored in %s", s.URL, name, a.moment(expires), path)
	if s.Token != "" {
		a.say("JITGATE_TOKEN is set and goes before this login")
	}
	if a.format == formatJSON {
		return a.print(struct {
			URL       string    `json:"url"`
			Name      string    `json:"name"`
			ExpiresOn time.Time `json:"expiresOn"`
		}{l.URL, l.Name, l.ExpiresOn}, nil)
	}
	return nil
}

// maxToken bounds what is read of the local stack's answer, in bytes.
const maxToken = 1 << 20

// localToken asks the local stack's stand-in for Entra ID, which asks nobody for a
// password.
func (a *App) localToken(ctx context.Context, entra, name string) (string, time.Time, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, entra+"/token?user="+url.QueryEscape(name), nil)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make the call: %w", err)
	}
	response, err := a.http().Do(r)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("cannot reach the local stack: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		var why struct {
			Text string `json:"error_description"` // names those it knows
		}
		f := &failure{exit: exitNotFound, sentence: fmt.Sprintf("the local stack knows nobody called %q", name)}
		if json.NewDecoder(io.LimitReader(response.Body, maxToken)).Decode(&why) == nil && why.Text != "" {
			f.lines = []string{why.Text}
		}
		return "", time.Time{}, f
	default:
		return "", time.Time{}, &failure{exit: exitOf(response.StatusCode), sentence: "the local stack's sign-in answered " + response.Status}
	}
	// Like the managed identity endpoint, it writes the time in Unix seconds, as text.
	var answer struct {
		AccessToken string      `json:"access_token"`
		ExpiresOn   json.Number `json:"expires_on"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxToken)).Decode(&answer); err != nil {
		return "", time.Time{}, fmt.Errorf("the answer is not a token; is %s the local stack's sign-in? %w", entra, err)
	}
	seconds, err := strconv.ParseInt(answer.ExpiresOn.String(), 10, 64)
	if err != nil || answer.AccessToken == "" {
		return "", time.Time{}, fmt.Errorf("the answer is not a token; is %s the local stack's sign-in?", entra)
	}
	return answer.AccessToken, time.Unix(seconds, 0).UTC(), nil
}
