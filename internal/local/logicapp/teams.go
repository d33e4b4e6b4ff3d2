package logicapp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// Teams is the connector that posts a card and waits for somebody to press a button,
// which press does. It refuses a card with a button that leads nowhere, as Teams does:
// the url of an Action.OpenUrl is an absolute URI (Adaptive Cards schema), and Teams
// opens http and https only.
func Teams(press Connector) Connector {
	return func(ctx context.Context, inputs map[string]any) (any, error) {
		if err := postable(inputs); err != nil {
			return nil, fmt.Errorf("the card cannot be posted: %w", err)
		}
		return press(ctx, inputs)
	}
}

func postable(inputs map[string]any) error {
	body := object{path: "body", fields: inputs}.object("body").object("body")
	text, _ := body.fields["messageBody"].(string)
	v, err := decode([]byte(text))
	if err != nil {
		return fmt.Errorf("messageBody is not JSON: %w", err)
	}
	card, _ := v.(map[string]any)
	actions, isArray := card["actions"].([]any)
	if card["type"] != "AdaptiveCard" || !isArray {
		return errors.New("it is not an Adaptive Card with actions")
	}
	for _, a := range actions {
		action, _ := a.(map[string]any)
		switch action["type"] {
		case "Action.Submit":
		case "Action.OpenUrl":
			link, _ := action["url"].(string)
			if u, err := url.Parse(link); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
				return fmt.Errorf("%q of an Action.OpenUrl is not an absolute URL", link)
			}
		default:
			return fmt.Errorf("the action %v is not supported", action["type"])
		}
	}
	return nil
}
