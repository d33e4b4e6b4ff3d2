package servicebus

import (
	"strings"
)

// putToken is the only operation of $cbs: it authorises links to an entity.
// Tokens are not checked, but what they are for must exist: azservicebus learns
// from this answer that a queue does not.
func (c *conn) putToken(r *request) response {
	if r.operation != "put-token" {
		return failed(&failure{"amqp:not-implemented", "unknown operation " + r.operation, 501})
	}
	switch r.properties.Get("type") {
	case "servicebus.windows.net:sastoken", "jwt":
	default:
		return failed(&failure{"amqp:unauthorized-access", "the token type is neither a SAS token nor a JWT", 401})
	}
	audience, _ := r.properties.Get("name").(string)
	_, rest, ok := strings.Cut(audience, "://")
	if !ok {
		return failed(&failure{"amqp:unauthorized-access", "the audience is not a URL", 401})
	}
	_, path, _ := strings.Cut(rest, "/")
	if _, ok := c.srv.resolve(path); !ok && path != "" {
		return failed(&failure{"amqp:not-found", "The messaging entity '" + audience + "' could not be found.", 404})
	}
	c.claims[strings.ToLower(path)] = true
	return response{status: 202, description: "Accepted"}
}
