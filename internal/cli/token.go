package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"jitgate/internal/azure/signin"
)

// login is the content of token.json. The token is for one installation only, so
// that it is never sent to another.
type login struct {
	URL         string    `json:"url"`
	Name        string    `json:"name"`
	AccessToken string    `json:"accessToken"`
	ExpiresOn   time.Time `json:"expiresOn"`
}

func (a *App) loginFile() (string, error) {
	dir := a.Getenv("JITGATE_CONFIG_DIR")
	if dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("no place for the stored login, set JITGATE_CONFIG_DIR: %w", err)
		}
		dir = filepath.Join(config, "jitgate")
	}
	return filepath.Join(dir, "token.json"), nil
}

// loadLogin returns the stored login for the installation, or nil.
func (a *App) loadLogin(base string) (*login, error) {
	path, err := a.loginFile()
	if err != nil {
		a.detail("sign-in: %s", err)
		return nil, nil // there are other ways to sign in
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the stored login: %w", err)
	}
	var l login
	if err := json.Unmarshal(text, &l); err != nil || l.AccessToken == "" {
		return nil, &failure{exit: exitUnexpected, sentence: "the stored login in " + path + " cannot be read", cause: err,
			hints: []string{"delete it, or run: jitgate login --as NAME (local stack)"}}
	}
	if l.URL != base {
		a.detail("sign-in: the stored login is for %s and is not used", l.URL)
		return nil, nil
	}
	return &l, nil
}

// saveLogin replaces the file in one step and lets nobody else read it.
func (a *App) saveLogin(l login) (string, error) {
	path, err := a.loginFile()
	if err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the login: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the folder for the login: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "token-*") // made with mode 0600
	if err != nil {
		return "", fmt.Errorf("store the login: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("store the login: %w", err)
	}
	return path, nil
}

// tokens finds the way to sign in and returns where each call gets its token.
func (a *App) tokens(s settings) (func(context.Context) (string, error), error) {
	if s.Token != "" {
		a.detail("sign-in: JITGATE_TOKEN")
		return func(context.Context) (string, error) { return s.Token, nil }, nil
	}
	l, err := a.loadLogin(s.URL)
	if err != nil {
		return nil, err
	}
	if l != nil {
		a.detail("sign-in: stored login of %s", l.Name)
		return func(context.Context) (string, error) {
			if !a.Clock.Now().Before(l.ExpiresOn) {
				return "", &failure{exit: exitNotAllowed, sentence: fmt.Sprintf("the login of %s ended %s", l.Name, a.moment(l.ExpiresOn)),
					hints: []string{"run: jitgate login --as " + l.Name}}
			}
			return l.AccessToken, nil
		}, nil
	}
	if s.Audience == "" {
		return nil, &failure{exit: exitNotAllowed, sentence: "you are not signed in to " + s.URL,
			hints: []string{signInHint, `with azure-cli: set JITGATE_AUDIENCE; "jitgate login" explains`}}
	}
	az, err := signin.NewAzureCLI(s.Audience, a.Clock)
	if err != nil {
		return nil, err
	}
	a.detail("sign-in: azure-cli, scope %s", az.Scope())
	return func(ctx context.Context) (string, error) {
		token, err := az.Token(ctx)
		if err != nil && ctx.Err() == nil {
			err = &failure{exit: exitNotAllowed, sentence: err.Error(), cause: err,
				hints: []string{"run: az login --scope " + az.Scope()}}
		}
		return token, err
	}, nil
}
