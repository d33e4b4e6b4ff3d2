package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// holds tells whether the condition is met. An error says why that is not known,
// in words for the requester; it then counts as not met.
func (c Condition) holds(facts map[string]any) (bool, error) {
	p, err := programFor(c.Expression)
	if err != nil {
		return false, errors.New("its expression cannot be read")
	}
	value, _, err := p.run.Eval(facts)
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled):
		return false, fmt.Errorf("it takes more work than the %d steps a condition may", costLimit)
	case err != nil && facts[groupsName] == nil && strings.Contains(err.Error(), groupsName):
		return false, errors.New(groupsUnnamed)
	case err != nil:
		return false, errors.New(printable(err.Error(), 120))
	}
	return value == types.True, nil
}

// timed reports whether the outcome can depend on the duration.
func (c Condition) timed() bool {
	p, err := programFor(c.Expression)
	return err == nil && p.timed
}

// tagged reports whether the outcome can depend on the machine's tags.
func (c Condition) tagged() bool {
	p, err := programFor(c.Expression)
	return err != nil || p.tagged
}

// constant tells the outcome of an expression that depends on nothing.
func (c Condition) constant() (outcome, is bool) {
	p, err := programFor(c.Expression)
	if err != nil {
		return false, false
	}
	value, _, err := p.run.Eval(cel.NoVars())
	return value == types.True, err == nil
}

// facts are the values that conditions see.
func (q Question) facts() map[string]any {
	ports := make([]portFact, len(q.Ports))
	for i, p := range q.Ports {
		ports[i] = portFact{int64(p.Number), string(p.Protocol)}
	}
	facts := map[string]any{
		"request.ports": ports, "request.source": q.Source.String(), durationName: q.Duration, "request.justification": strings.TrimSpace(q.Justification),
		"requester.object": q.Requester.Object, "requester.name": q.Requester.Name, "requester.tenant": q.Requester.Tenant, "requester.roles": some(q.Requester.Roles),
		groupsName: some(q.Requester.Groups), "requester.application": q.Requester.Application,
		"machine.id": q.VM.String(), "machine.name": q.VM.Name(), "machine.resourceGroup": q.VM.ResourceGroup(),
		"machine.subscription": q.VM.Subscription(), tagsName: newTagMap(q.Tags), "time": q.At.UTC(),
	}
	if q.Requester.GroupsIncomplete {
		// Without a value CEL knows nothing of it, while an empty list would answer "not in
		// that group" to every question.
		delete(facts, groupsName)
	}
	return facts
}

// groupsUnnamed is why groups do not count for somebody.
const groupsUnnamed = "your token does not name your groups, because there are more than 200 of them"

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// tagMap finds tags whatever the case of their names, as Azure does; listed, the
// names are in lower case.
type tagMap struct{ traits.Mapper }

func newTagMap(tags map[string]string) tagMap {
	return tagMap{types.NewStringStringMap(types.DefaultTypeAdapter, foldedTags(tags))}
}

func lower(key ref.Val) ref.Val {
	if s, ok := key.(types.String); ok {
		return types.String(strings.ToLower(string(s)))
	}
	return key
}

func (m tagMap) Find(key ref.Val) (ref.Val, bool) { return m.Mapper.Find(lower(key)) }
func (m tagMap) Get(key ref.Val) ref.Val          { return m.Mapper.Get(lower(key)) }
func (m tagMap) Contains(key ref.Val) ref.Val     { return m.Mapper.Contains(lower(key)) }

// printable cuts text and takes out what could do harm in a log or a terminal.
func printable(text string, most int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	if len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return string(runes)
}
