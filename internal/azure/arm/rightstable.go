package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// appRoles are those that Azure RBAC may give. The others are about jitgate itself
// and not about a machine, so an assignment on one cannot give them.
var appRoles = []string{"Jit.Request", "Jit.Approve"}

var errNoRights = errors.New("no role definition is named, so nobody could do anything; name at least one")

// ParseRights reads the setting that says which app roles an Azure role gives: a
// JSON object with the GUIDs of role definitions as names and lists of Jit.Request
// and Jit.Approve as values. Built-in roles have the same GUID everywhere
// (azure-docs, built-in-roles); those of custom roles serve too. Names of roles are
// refused: a custom role can be renamed. All faults are reported at once. The GUIDs
// in the result are in lower case.
func ParseRights(text string) (map[string][]string, error) {
	d := json.NewDecoder(strings.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New(`it must be a JSON object such as {"<role definition GUID>": ["Jit.Request"]}`)
	}
	out, faults, named := map[string][]string{}, []error{}, 0
	for ; d.More(); named++ {
		definition, err := d.Token()
		if err != nil {
			return nil, errors.Join(append(faults, fmt.Errorf("not JSON: %w", err))...)
		}
		var roles []string
		var wrong *json.UnmarshalTypeError
		switch err := d.Decode(&roles); {
		case errors.As(err, &wrong):
			faults = append(faults, fmt.Errorf("%q: it must have a list of app roles, such as [\"Jit.Request\"]", definition))
		case err != nil:
			return nil, errors.Join(append(faults, fmt.Errorf("not JSON: %w", err))...)
		default:
			faults = append(faults, grant(out, definition.(string), roles))
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.Join(append(faults, fmt.Errorf("not JSON: %w", err))...)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		faults = append(faults, errors.New("there is something behind the JSON object"))
	}
	if named == 0 {
		faults = append(faults, errNoRights)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return out, nil
}

// grant adds a line to a table, and returns what is wrong with it.
func grant(table map[string][]string, definition string, roles []string) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%q: "+format, append([]any{definition}, args...)...))
	}
	key := strings.ToLower(definition)
	if !isGUID(definition) {
		fault("it must be the GUID of a role definition; 'az role definition list --name \"<role>\" --query [].name' shows it")
	} else if table[key] != nil {
		fault("it is named twice")
	}
	if len(roles) == 0 {
		fault("it gives no app role; leave it out or name %s", strings.Join(appRoles, " or "))
	}
	for i, role := range roles {
		if !slices.Contains(appRoles, role) {
			fault("%q cannot be given, only %s", role, strings.Join(appRoles, " and "))
		} else if slices.Contains(roles[:i], role) {
			fault("%s is named twice", role)
		}
	}
	table[key] = append([]string{}, roles...) // not nil, so that it counts as named
	return errors.Join(faults...)
}
