// Package armid reads Azure Resource Manager ids. It owns the rules that every
// other package needs about them: they are compared without regard to case,
// they nest, and they are too long and full of slashes to serve as storage keys
// or session ids. It refuses text that is not an id rather than guessing.
package armid

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Resource types jitgate deals with, as they appear in ids.
const (
	VirtualMachine = "Microsoft.Compute/virtualMachines"
	SecurityGroup  = "Microsoft.Network/networkSecurityGroups"
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("not an ARM id")

// ID is a subscription, a resource group or a resource. The zero ID is none of
// them. Compare with [ID.Equal] or by [ID.Key], never with ==: Azure returns the
// same id in different cases from one call to the next.
type ID struct {
	text         string // as first seen, for people
	folded       string // in lower case, for comparing
	subscription string
	group        string
	kind         string // "Namespace/type[/type…]", empty for a subscription or group
	name         string // last name in the id
}

var (
	uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	// Resource groups allow letters and digits of any script, hence \pL\pN.
	groupPattern = regexp.MustCompile(`^[-\pL\pN._()]{1,90}$`)
	namePattern  = regexp.MustCompile(`^[\pL\pN_][-\pL\pN._]{0,79}$`)
	typePattern  = regexp.MustCompile(`^[A-Za-z0-9.]+$`)
)

// Parse accepts "/subscriptions/{uuid}", with "/resourceGroups/{name}" behind
// it, with "/providers/{namespace}/{type}/{name}…" behind that.
func Parse(text string) (ID, error) {
	bad := func(why string) (ID, error) { return ID{}, fmt.Errorf("%w: %s", ErrInvalid, why) }
	if len(text) > 1024 {
		return bad("longer than 1024 characters")
	}
	parts := strings.Split(text, "/")
	if len(parts) < 3 || parts[0] != "" || !strings.EqualFold(parts[1], "subscriptions") {
		return bad("it must start with /subscriptions/{id}")
	}
	if !uuidPattern.MatchString(parts[2]) {
		return bad("the subscription is not a UUID")
	}
	id := ID{text: text, folded: strings.ToLower(text), subscription: parts[2], name: parts[2]}
	if len(parts) == 3 {
		return id, nil
	}
	if len(parts) < 5 || !strings.EqualFold(parts[3], "resourceGroups") || !groupPattern.MatchString(parts[4]) {
		return bad("the subscription must be followed by /resourceGroups/{name}")
	}
	id.group, id.name = parts[4], parts[4]
	if len(parts) == 5 {
		return id, nil
	}
	rest := parts[5:]
	if len(rest) < 4 || len(rest)%2 != 0 || !strings.EqualFold(rest[0], "providers") || !typePattern.MatchString(rest[1]) {
		return bad("the resource group must be followed by /providers/{namespace}/{type}/{name}")
	}
	kind := []string{rest[1]}
	for i := 2; i < len(rest); i += 2 {
		if !typePattern.MatchString(rest[i]) {
			return bad(fmt.Sprintf("%q is not a resource type", rest[i]))
		}
		if !namePattern.MatchString(rest[i+1]) {
			return bad(fmt.Sprintf("%q is not a resource name", rest[i+1]))
		}
		kind, id.name = append(kind, rest[i]), rest[i+1]
	}
	id.kind = strings.Join(kind, "/")
	return id, nil
}

// ParseType parses text and requires a resource of the given type.
func ParseType(text, kind string) (ID, error) {
	id, err := Parse(text)
	if err != nil {
		return ID{}, err
	}
	if !strings.EqualFold(id.kind, kind) {
		return ID{}, fmt.Errorf("%w: a resource of type %s is needed", ErrInvalid, kind)
	}
	return id, nil
}

// MustParse is for constants and tests; it panics on bad text.
func MustParse(text string) ID {
	id, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return id
}

func (id ID) String() string        { return id.text }
func (id ID) Subscription() string  { return id.subscription }
func (id ID) ResourceGroup() string { return id.group }
func (id ID) Name() string          { return id.name }

// Type is "Namespace/type", empty for a subscription or a resource group.
func (id ID) Type() string { return id.kind }

// IsZero reports whether id was never parsed.
func (id ID) IsZero() bool { return id.text == "" }

// Equal ignores case, as ARM does. Equal ids share a key.
func (id ID) Equal(other ID) bool { return id.folded == other.folded }

// Key is the lower-cased id hashed to 64 hexadecimal characters: legal as a
// Table Storage key (no slashes) and short enough for a Service Bus session id
// (128 characters at most).
func (id ID) Key() string {
	sum := sha256.Sum256([]byte(id.folded))
	return hex.EncodeToString(sum[:])
}

// Scopes lists id and everything it lies in, nearest first: resource, resource
// group, subscription.
func (id ID) Scopes() []ID {
	var scopes []ID
	if id.kind != "" {
		scopes = append(scopes, id)
	}
	subscription := ID{text: "/subscriptions/" + id.subscription, subscription: id.subscription, name: id.subscription}
	subscription.folded = strings.ToLower(subscription.text)
	if id.group != "" {
		group := ID{text: subscription.text + "/resourceGroups/" + id.group, subscription: id.subscription, group: id.group, name: id.group}
		group.folded = strings.ToLower(group.text)
		scopes = append(scopes, group)
	}
	return append(scopes, subscription)
}

// Within reports whether id is scope or lies in it.
func (id ID) Within(scope ID) bool {
	for _, s := range id.Scopes() {
		if s.Equal(scope) {
			return true
		}
	}
	return false
}

// MarshalText writes the id as it was first seen.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.text), nil }

// UnmarshalText accepts what [Parse] accepts, and empty text as the zero ID.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}
