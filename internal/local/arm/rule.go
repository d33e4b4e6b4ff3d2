package arm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of one NSG (azure-docs, azure-virtual-network-limits) and of one rule
// (network-security-groups-overview; armnetwork v9 models.go for the description).
const (
	maxRules        = 1000
	maxPrefixes     = 4000 // over all rules, for sources and destinations separately
	maxRuleASGs     = 10
	maxDescription  = 140
	minPriority     = 100
	maxPriority     = 4096
	nsgType         = "Microsoft.Network/networkSecurityGroups"
	ruleType        = nsgType + "/securityRules"
	defaultRuleType = nsgType + "/defaultSecurityRules"
)

var (
	// resourceName is Microsoft.Network's rule for names, rules included: at most
	// 80 characters, the first a word character, the last a word character (which
	// has the underscore in it already).
	resourceName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`)
	groupName    = regexp.MustCompile(`^[-\pL\pN._()]{0,89}[-\pL\pN_()]$`)
)

// rule is one stored rule. It is never changed after it was made. properties is
// what the client sent, unknown fields included, without read-only ones; extra is
// what it sent beside "properties" that ARM does not know; view is what the
// evaluator reads.
type rule struct {
	name       string
	properties map[string]any
	extra      map[string]any
	view       view
}

// unknownMembers picks what is kept of a resource's top level as it came.
func unknownMembers(body map[string]any) map[string]any {
	extra := map[string]any{}
	for member, value := range body {
		switch member {
		case "id", "name", "type", "etag", "location", "tags", "properties":
		default:
			extra[member] = value
		}
	}
	return extra
}

// decodeObject reads one JSON object and keeps numbers as they were written, so
// that a foreign property comes back unchanged.
func decodeObject(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON object")
	}
	if out == nil {
		return nil, errors.New("a JSON object is wanted, not null")
	}
	return out, nil
}

// unreadable is the network provider's answer to a body it cannot take apart.
func unreadable(format string, args ...any) *answer {
	return refuseWith(http.StatusBadRequest, failure{Code: "InvalidRequestFormat", Message: "Cannot parse the request.",
		Details: []detail{{Code: "InvalidJson", Message: fmt.Sprintf(format, args...)}}})
}

func invalidName(name string) *answer {
	return refuse(http.StatusBadRequest, "InvalidResourceName",
		"Resource name %s is invalid. The name can be up to 80 characters long. It must begin with a word character, and it must end with a word character or with '_'. The name may contain word characters or '.', '-', '_'.", name)
}

// side is the source or the destination half of a rule's fields.
type side struct{ lower, upper string }

var sides = [...]side{{"source", "Source"}, {"destination", "Destination"}}

// readRule checks a rule's properties as Azure does and makes a stored rule. It
// looks at this rule alone; see checkRules for what concerns the whole NSG.
func (w *world) readRule(nsgID, name string, properties map[string]any) (*rule, *answer) {
	if !resourceName.MatchString(name) {
		return nil, invalidName(name)
	}
	p := make(map[string]any, len(properties))
	for field, value := range properties {
		// null means absent, and the service owns provisioningState.
		if value != nil && field != "provisioningState" {
			p[field] = value
		}
	}
	r := &rule{name: name, properties: p}
	id := nsgID + "/securityRules/" + name
	missing := func(what string) *answer {
		return refuse(http.StatusBadRequest, "SecurityRuleParametersMissing",
			"Required security rule parameters are missing for security rule with Id: %s. Security rule must specify %s.", id, what)
	}
	for _, e := range []struct {
		field  string
		values []string
		set    func(string)
	}{
		{"access", []string{"Allow", "Deny"}, func(v string) { r.view.allow = v == "Allow" }},
		{"direction", []string{"Inbound", "Outbound"}, func(v string) { r.view.inbound = v == "Inbound" }},
		{"protocol", []string{"*", "Tcp", "Udp", "Icmp", "Esp", "Ah"}, func(v string) { r.view.protocol = strings.ToLower(v) }},
	} {
		text, refused := stringField(p, e.field)
		if refused != nil {
			return nil, refused
		}
		if text == "" {
			return nil, missing(e.field)
		}
		known := false
		for _, v := range e.values {
			if strings.EqualFold(v, text) { // "tcp" is taken; it is stored in the enum's own casing
				p[e.field], known = v, true
				e.set(v)
			}
		}
		if !known {
			return nil, unreadable("Error converting value %q. Path 'properties.%s'. Known values: %s.", text, e.field, strings.Join(e.values, ", "))
		}
	}
	if refused := readPriority(p, &r.view); refused != nil {
		return nil, refused
	}
	if text, refused := stringField(p, "description"); refused != nil {
		return nil, refused
	} else if utf8.RuneCountInString(text) > maxDescription {
		// The limit is documented; this code is UNVERIFIED.
		return nil, refuse(http.StatusBadRequest, "SecurityRuleDescriptionTooLong",
			"Security rule %s has a description of more than %d characters.", id, maxDescription)
	}
	for i, s := range sides {
		v := []*half{&r.view.source, &r.view.destination}[i]
		if refused := w.readAddresses(id, p, s, v, missing); refused != nil {
			return nil, refused
		}
		if refused := readPorts(p, s, v, missing, id); refused != nil {
			return nil, refused
		}
	}
	return r, nil
}

func readPriority(p map[string]any, v *view) *answer {
	value, given := p["priority"]
	number, isNumber := value.(json.Number)
	if given && !isNumber {
		return unreadable("Error converting value to an integer. Path 'properties.priority'.")
	}
	n, err := strconv.Atoi(string(number))
	if given && err != nil {
		return unreadable("%s is not an integer. Path 'properties.priority'.", number)
	}
	if n < minPriority || n > maxPriority {
		return refuse(http.StatusBadRequest, "SecurityRuleInvalidPriority",
			"Security rule has invalid Priority. Value provided: %d Allowed range %d-%d.", n, minPriority, maxPriority)
	}
	v.priority = n
	return nil
}

// exclusive is the refusal of a field given both in the singular and the plural.
// That Azure refuses it is known, under which code is UNVERIFIED.
func exclusive(id string, fields ...string) *answer {
	return refuse(http.StatusBadRequest, "SecurityRuleParametersConflict",
		"Security rule %s must specify only one of %s.", id, strings.Join(fields, ", "))
}

func (w *world) readAddresses(id string, p map[string]any, s side, out *half, missing func(string) *answer) *answer {
	one, many, groups := s.lower+"AddressPrefix", s.lower+"AddressPrefixes", s.lower+"ApplicationSecurityGroups"
	single, refused := stringField(p, one)
	if refused != nil {
		return refused
	}
	list, refused := stringsField(p, many)
	if refused != nil {
		return refused
	}
	asgs, refused := w.readASGs(id, p, groups)
	if refused != nil {
		return refused
	}
	given := 0
	for _, there := range []bool{single != "", len(list) > 0, len(asgs) > 0} {
		if there {
			given++
		}
	}
	switch {
	case given == 0:
		return missing(fmt.Sprintf("%[1]sAddressPrefixes, %[1]sAddressPrefix, or %[1]sApplicationSecurityGroups", s.upper))
	case given > 1:
		return exclusive(id, one, many, groups)
	}
	out.asgs = asgs
	if single != "" {
		a, known := readAddress(single)
		if !known {
			return invalidPrefix(id, single)
		}
		out.addresses = []address{a}
	} else {
		delete(p, one)
	}
	for _, text := range list {
		a, known := readAddress(text)
		if !known {
			return invalidPrefix(id, text)
		}
		if !a.prefix.IsValid() { // a tag or *
			return refuse(http.StatusBadRequest, "SecurityRuleParameterContainsUnsupportedValue",
				"Security rule parameter %sAddressPrefix for rule with Id %s cannot specify existing VIRTUALNETWORK, INTERNET, AZURELOADBALANCER, '*' or system tags. Unsupported value used: %s.", s.upper, id, text)
		}
		out.addresses = append(out.addresses, a)
	}
	if list == nil {
		p[many] = []any{} // Azure returns the plural fields even when unused
	}
	return nil
}

func invalidPrefix(id, text string) *answer {
	return refuse(http.StatusBadRequest, "SecurityRuleInvalidAddressPrefix",
		"Security rule %s has invalid Address prefix. Value provided: %s", id, text)
}

func (w *world) readASGs(id string, p map[string]any, field string) ([]string, *answer) {
	value, given := p[field]
	if !given {
		return nil, nil
	}
	list, isList := value.([]any)
	if !isList {
		return nil, unreadable("Error converting value to an array. Path 'properties.%s'.", field)
	}
	if len(list) > maxRuleASGs { // the limit is documented, this code is UNVERIFIED
		return nil, refuse(http.StatusBadRequest, "SecurityRuleApplicationSecurityGroupLimitReached",
			"Security rule %s names more than %d application security groups in %s.", id, maxRuleASGs, field)
	}
	var keys []string
	for _, item := range list {
		object, _ := item.(map[string]any)
		text, isText := object["id"].(string)
		if !isText {
			return nil, unreadable("Error converting value to a resource reference. Path 'properties.%s'.", field)
		}
		if w.asgs[key(text)] == nil {
			return nil, refuse(http.StatusBadRequest, "InvalidResourceReference",
				"Resource %s referenced by resource %s was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", text, id)
		}
		keys = append(keys, key(text))
	}
	if keys == nil {
		delete(p, field)
	}
	return keys, nil
}

func readPorts(p map[string]any, s side, out *half, missing func(string) *answer, id string) *answer {
	one, many := s.lower+"PortRange", s.lower+"PortRanges"
	single, refused := stringField(p, one)
	if refused != nil {
		return refused
	}
	list, refused := stringsField(p, many)
	if refused != nil {
		return refused
	}
	switch {
	case single == "" && len(list) == 0:
		return missing(fmt.Sprintf("%[1]sPortRanges or %[1]sPortRange", s.upper))
	case single != "" && len(list) > 0:
		return exclusive(id, one, many)
	}
	if single != "" {
		r, known := readPortRange(single)
		if !known {
			return invalidPorts(single)
		}
		out.ports = []portRange{r}
	} else {
		delete(p, one)
	}
	for _, text := range list {
		r, known := readPortRange(text)
		switch {
		case text == "*":
			return refuse(http.StatusBadRequest, "SecurityRuleParameterContainsInvalidPortRanges",
				"Security rule parameter %sPortRanges for rule with Id %s cannot specify '*'. Use %s instead.", s.upper, id, one)
		case !known:
			return invalidPorts(text)
		}
		out.ports = append(out.ports, r)
	}
	if list == nil {
		p[many] = []any{}
	}
	return nil
}

func invalidPorts(text string) *answer {
	return refuse(http.StatusBadRequest, "SecurityRuleInvalidPortRange",
		"Security rule has invalid Port range. Value provided: %s. Value should be an integer OR integer range with '-' delimiter. Valid range 0-65535.", text)
}

// stringField reads an optional string; "" also means absent and is dropped.
func stringField(p map[string]any, field string) (string, *answer) {
	value, given := p[field]
	if !given {
		return "", nil
	}
	text, isText := value.(string)
	if !isText {
		return "", unreadable("Error converting value to a string. Path 'properties.%s'.", field)
	}
	if text == "" {
		delete(p, field)
	}
	return text, nil
}

// stringsField reads an optional array of strings; nil means absent.
func stringsField(p map[string]any, field string) ([]string, *answer) {
	value, given := p[field]
	if !given {
		return nil, nil
	}
	list, isList := value.([]any)
	if !isList {
		return nil, unreadable("Error converting value to an array. Path 'properties.%s'.", field)
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		text, isText := item.(string)
		if !isText {
			return nil, unreadable("Error converting value to a string. Path 'properties.%s[%d]'.", field, i)
		}
		out = append(out, text)
	}
	return out, nil
}

// checkRules checks what concerns all rules of an NSG together.
func checkRules(nsgID string, rules []*rule) *answer {
	if len(rules) > maxRules {
		return refuse(http.StatusBadRequest, "SecurityRuleCountLimitReached",
			"A security group cannot have more than %d security rules.", maxRules)
	}
	type slot struct {
		inbound  bool
		priority int
	}
	taken := make(map[slot]*rule, len(rules))
	names := make(map[string]bool, len(rules))
	sources, destinations := 0, 0
	for _, r := range rules {
		if names[key(r.name)] {
			return refuse(http.StatusBadRequest, "DuplicateResourceName",
				"Resource %s has two child resources with the same name (%s).", nsgID, r.name)
		}
		names[key(r.name)] = true
		at := slot{r.view.inbound, r.view.priority}
		if other := taken[at]; other != nil {
			return refuse(http.StatusBadRequest, "SecurityRuleConflict",
				"Security rule %s conflicts with rule %s. Rules cannot have the same Priority and Direction.", r.name, other.name)
		}
		taken[at] = r
		sources += r.view.source.prefixes()
		destinations += r.view.destination.prefixes()
	}
	if sources > maxPrefixes || destinations > maxPrefixes { // the limit is documented, this code is UNVERIFIED
		return refuse(http.StatusBadRequest, "SecurityRuleAddressPrefixLimitReached",
			"A security group cannot have more than %d source or %d destination addresses and ranges.", maxPrefixes, maxPrefixes)
	}
	return nil
}
