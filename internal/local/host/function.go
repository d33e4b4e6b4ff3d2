package host

import (
	"regexp"
	"slices"
	"strings"
)

// function is one function folder with its only trigger.
type function struct {
	name     string
	disabled bool
	http     *httpTrigger
	queue    *queueTrigger
	timer    *timerTrigger
}

type httpTrigger struct {
	level   string   // anonymous, function or admin
	methods []string // upper case; empty: all
	route   route    // with the prefix
}

type queueTrigger struct {
	binding      string
	queue        string // may end in /$DeadLetterQueue
	connection   string // connection string
	sessions     bool
	binary       bool // dataType binary; string and none are the same for single messages
	autoComplete bool
}

type timerTrigger struct {
	binding      string
	schedule     schedule
	runOnStartup bool
	monitored    bool
}

// functionName is the host's own rule for function names (host Utility.cs).
var functionName = regexp.MustCompile(`^(?i)[a-z][a-z0-9_-]{0,127}$`)

// readFunction returns nil when the folder has a fault that leaves no usable trigger.
func readFunction(name string, raw []byte, env settings, prefix string, f *faults) *function {
	o := parseObject("function "+name, raw, f)
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		f.addf("function %s: the folder's name is no legal function name", name)
	}
	fn := &function{name: name, disabled: o.flag("disabled", false) || env.disabled(name)}
	o.ignore("$schema", "generatedBy", "configurationSource")
	o.unsupported("retry", "scriptFile", "entryPoint", "language", "excluded")
	bindings := o.children("bindings")
	o.done()
	if o.fields == nil {
		return nil // no JSON object
	}

	var triggers, outputs, unknown int
	for _, b := range bindings {
		kind, binding, direction := b.text("type"), b.text("name"), b.text("direction")
		if binding == "" {
			f.addf("%s: name is missing", b.where)
		}
		wants := "in"
		switch strings.ToLower(kind) {
		case "httptrigger":
			triggers++
			fn.http = readHTTP(b, name, prefix)
		case "servicebustrigger":
			triggers++
			fn.queue = readQueue(b, binding, env)
		case "timertrigger":
			triggers++
			fn.timer = readTimer(b, binding, env)
		case "http":
			outputs++
			wants = "out"
			b.done()
		default:
			f.addf("%s: binding type %q is unknown to this stand-in", b.where, kind)
			unknown++
			continue
		}
		if direction != wants {
			f.addf("%s: direction is %q: a binding of type %s has %q", b.where, direction, kind, wants)
		}
	}
	if unknown > 0 {
		return nil
	}
	if triggers != 1 {
		f.addf("function %s: it has %d triggers: a function has exactly one", name, triggers)
		return nil
	}
	// One trigger plus one http output is what the host calls HTTP-only; it forwards nothing else.
	if fn.http != nil && (outputs != 1 || len(bindings) != 2) {
		f.addf("function %s: an httpTrigger needs exactly one output of type http beside it, or the host sends the JSON envelope", name)
	}
	if fn.http == nil && outputs > 0 {
		f.addf("function %s: an http output without an httpTrigger", name)
	}
	return fn
}

func readHTTP(b *object, name, prefix string) *httpTrigger {
	t := &httpTrigger{level: strings.ToLower(b.text("authLevel"))}
	if t.level == "" {
		t.level = "function"
	}
	if !slices.Contains([]string{"anonymous", "function", "admin"}, t.level) {
		b.faults.addf("%s: authLevel %q: use anonymous, function or admin", b.where, t.level)
	}
	for _, m := range b.texts("methods") {
		t.methods = append(t.methods, strings.ToUpper(m))
	}
	template := name
	b.take("route", &template)
	if prefix != "" {
		template = strings.TrimSuffix(prefix+"/"+template, "/")
	}
	b.done()
	var err error
	if t.route, err = parseRoute(template); err != nil {
		b.faults.addf("%s: %w", b.where, err)
	}
	if len(t.route.segments) > 0 && slices.Contains([]string{"admin", "runtime"}, t.route.segments[0].literal) {
		b.faults.addf("%s: route %q conflicts with a built-in route of the host", b.where, template)
	}
	return t
}

func (t *httpTrigger) allows(method string) bool {
	return len(t.methods) == 0 || slices.Contains(t.methods, method)
}

func (t *httpTrigger) sharesMethod(u *httpTrigger) bool {
	return len(t.methods) == 0 || len(u.methods) == 0 || slices.ContainsFunc(t.methods, u.allows)
}

func readQueue(b *object, binding string, env settings) *queueTrigger {
	t := &queueTrigger{binding: binding, queue: resolve(b, "queueName", env)}
	t.sessions = b.flag("isSessionsEnabled", false)
	// The host writes the attribute out again with every property set, so an absent value becomes true and beats
	// host.json (host ExtensionBinding.cs).
	t.autoComplete = b.flag("autoCompleteMessages", true)
	b.ignore("maxMessageBatchSize") // for cardinality many
	if readChoice(b, "cardinality", "one", "many") == "many" {
		// The Go client cannot take credit back, so a batch's worth of messages would bounce while one is at work.
		b.faults.addf("%s: cardinality many is not supported by this stand-in: in Azure its locks are not renewed either", b.where)
	}
	t.binary = readChoice(b, "dataType", "string", "binary") == "binary"
	var err error
	if t.connection, err = env.connection(b.text("connection")); err != nil {
		b.faults.addf("%s: %w", b.where, err)
	}
	b.unsupported("topicName", "subscriptionName")
	if t.queue == "" {
		b.faults.addf("%s: queueName is missing", b.where)
	}
	b.done()
	return t
}

func readTimer(b *object, binding string, env settings) *timerTrigger {
	t := &timerTrigger{binding: binding, runOnStartup: b.flag("runOnStartup", false)}
	text := resolve(b, "schedule", env)
	var err error
	if t.schedule, err = parseSchedule(text); err != nil {
		b.faults.addf("%s: schedule: %w", b.where, err)
	}
	// The extension switches monitoring off for schedules that fire more than once a minute.
	t.monitored = b.flag("useMonitor", true) && err == nil && !moreThanOnceAMinute(t.schedule)
	b.done()
	return t
}

// resolve reads a text in which %NAME% stands for an app setting that must exist.
func resolve(b *object, name string, env settings) string {
	text, unknown := env.expand(b.text(name))
	for _, u := range unknown {
		b.faults.addf("%s: %s: no app setting defines %s", b.where, name, u)
	}
	return text
}

// readChoice reads a word; the first is the one that absence means.
func readChoice(b *object, name string, words ...string) string {
	word := strings.ToLower(b.text(name))
	if word == "" {
		return words[0]
	}
	if !slices.Contains(words, word) {
		b.faults.addf("%s: %s is %q: use %s", b.where, name, word, strings.Join(words, " or "))
	}
	return word
}
