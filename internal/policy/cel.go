package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// costLimit bounds the work of one condition, in CEL's units: one is about one
// comparison. It is a thousand times what usual conditions need.
const costLimit = 20_000

// maxExpression is the length of a condition in characters.
const maxExpression = 2000

// portFact is a port as conditions see it.
type portFact struct {
	Port     int64  `cel:"port"`
	Protocol string `cel:"protocol"`
}

// names are what conditions can speak of, in the order faults list them.
var names = []string{
	"request.ports", "request.source", "request.duration", "request.justification",
	"requester.object", "requester.name", "requester.tenant", "requester.roles", groupsName, "requester.application",
	"machine.id", "machine.name", "machine.resourceGroup", "machine.subscription", tagsName, "time",
}

// durationName is the one name whose value [Set.Decide] varies.
const durationName = "request.duration"

// groupsName is the one name that has no value when the token does not name them.
const groupsName = "requester.groups"

// tagsName is the one name whose value has to be asked of Azure.
const tagsName = "machine.tags"

// environment is built once: it takes milliseconds. The names are declared with
// their dots, so that each has its own type and a misspelt one is found when the
// policy is read.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	ofType := map[string]*cel.Type{
		"request.ports": cel.ListType(cel.ObjectType("port")), durationName: cel.DurationType,
		"requester.roles": cel.ListType(cel.StringType), groupsName: cel.ListType(cel.StringType), "requester.application": cel.BoolType,
		tagsName: cel.MapType(cel.StringType, cel.StringType), "time": cel.TimestampType,
	}
	options := []cel.EnvOption{
		cel.Types(cel.NativeTypeFor[portFact](cel.NativeTypeAlias("port"), types.ParseStructTag("cel"))),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(50), cel.ParserErrorRecoveryLimit(4),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	}
	for _, name := range names {
		t, known := ofType[name]
		if !known {
			t = cel.StringType
		}
		options = append(options, cel.Variable(name, t))
	}
	return cel.NewEnv(options...)
})

// program is an expression ready to run.
type program struct {
	run    cel.Program
	timed  bool // speaks of the duration asked for
	tagged bool // speaks of the machine's tags
}

// exprError is what is wrong with an expression, at a character from 1.
type exprError struct {
	at   int
	what string
}

func (e exprError) Error() string { return fmt.Sprintf("character %d: %s", e.at, e.what) }

// compile checks types and estimates the work. All that is wrong comes back as
// joined exprErrors.
func compile(expression string) (program, error) {
	env, err := environment()
	if err != nil {
		return program{}, fmt.Errorf("set up CEL: %w", err)
	}
	checked, issues := env.Compile(expression)
	if issues.Err() != nil {
		var all []error
		for _, issue := range issues.Errors() {
			all = append(all, exprError{characters(expression, issue.Location.Line(), issue.Location.Column()), issue.Message})
		}
		return program{}, errors.Join(all...)
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return program{}, exprError{1, fmt.Sprintf("it gives %s; a condition gives bool", checked.OutputType())}
	}
	estimate, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		return program{}, exprError{1, err.Error()}
	}
	if estimate.Max > costLimit {
		return program{}, exprError{1, fmt.Sprintf("it can take more work than the %d steps a condition may; loop over less", costLimit)}
	}
	run, err := env.Program(checked, cel.CostLimit(costLimit))
	if err != nil {
		return program{}, exprError{1, err.Error()}
	}
	p := program{run: run}
	for _, reference := range checked.NativeRep().ReferenceMap() {
		p.timed = p.timed || reference.Name == durationName
		p.tagged = p.tagged || reference.Name == tagsName
	}
	return p, nil
}

// characters counts from the start of the expression to a place in it.
func characters(expression string, line, column int) int {
	for l, text := range strings.Split(expression, "\n") {
		if l+1 >= line {
			break
		}
		column += len([]rune(text)) + 1
	}
	return max(column, 0) + 1 // what is wrong with all of it has no column
}

// sizes bounds what expressions loop over and search in. Estimates hold for
// anything smaller; what turns out larger runs into the limit.
type sizes struct{}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	most := uint64(512) // names, ids, tags
	path := strings.Join(n.Path(), " ")
	switch {
	case path == "request.justification":
		most = 1000
	case path == "request.ports":
		most = 20
	case strings.HasSuffix(path, "@items"):
		most = 120 // a role; ids of groups are shorter
	case n.Type().Kind() == types.ListKind:
		most = 200 // Entra ID puts no more groups into a token (access token docs, groups overage)
	case n.Type().Kind() == types.MapKind:
		most = maxTags
	}
	return &cost.SizeEstimate{Max: most}
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func programFor(expression string) (program, error) { return programs.get(expression, compile) }

// These remember by text what takes long to make: a what-if asks the
// same thousands of times.
var (
	programs memory[program]
	patterns memory[*regexp.Regexp]
	zones    memory[*time.Location] // loading one reads files
)

// memory forgets everything when it is full: what is in use comes back at once.
type memory[T any] struct {
	lock sync.Mutex
	made map[string]T
}

func (m *memory[T]) get(text string, build func(string) (T, error)) (T, error) {
	m.lock.Lock()
	known, ok := m.made[text]
	m.lock.Unlock()
	if ok {
		return known, nil
	}
	fresh, err := build(text)
	if err != nil {
		return fresh, err
	}
	const most = 1000
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.made == nil || len(m.made) >= most {
		m.made = map[string]T{}
	}
	m.made[text] = fresh
	return fresh, nil
}
