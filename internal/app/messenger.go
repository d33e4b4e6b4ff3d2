package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jitgate/functions/notify"
	sending "jitgate/internal/notify"
)

// messenger builds what reaches people and workflows outside.
func (c *Config) messenger(token func(context.Context) (string, error), now func() time.Time) (*notify.Messenger, error) {
	o := sending.Options{CallbackHosts: c.CallbackHosts, Loopback: c.NotifyLoopback, Now: now}
	if c.WorkflowAudience != "" {
		o.Token = token
	}
	sender, hostsErr := sending.New(o)
	var keys *sending.Keys
	var keysErr error
	if len(c.CallbackKeys) > 0 {
		keys, keysErr = sending.NewKeys(c.CallbackKeys...)
	}
	if hostsErr != nil || keysErr != nil {
		return nil, errors.Join(named("JITGATE_CALLBACK_HOSTS", hostsErr), named("JITGATE_CALLBACK_KEYS", keysErr))
	}
	m, err := notify.NewMessenger(sender, keys, c.Channels, c.RequestLink)
	return m, named("JITGATE_CHANNELS", err)
}

func named(setting string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", setting, err)
}
