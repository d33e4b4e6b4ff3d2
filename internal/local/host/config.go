package host

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// app is a staged function app, read and checked.
type app struct {
	root            string
	command         string // absolute path of the handler
	args            []string
	dir             string
	initTimeout     time.Duration // how long one start of the handler may take
	functionTimeout time.Duration // 0: unbounded
	bus             busOptions
	functions       []*function // in the order in which the host registers them: by name, ignoring case
	warnings        []string
}

// busOptions is extensions.serviceBus of host.json, with the defaults of the 5.x extension.
type busOptions struct {
	autoComplete bool          // loses against function.json, even against its default
	maxRenewal   time.Duration // negative: without end
	maxCalls     int           // without sessions
	maxSessions  int
	sessionIdle  time.Duration
}

// settings are the app settings: the environment of the handler.
type settings map[string]string

var percentName = regexp.MustCompile(`%([^%]+)%`)

// expand replaces %NAME%. It returns the names that no setting defines; they are replaced by nothing.
func (s settings) expand(text string) (expanded string, unknown []string) {
	expanded = percentName.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := s[strings.Trim(name, "%")]
		if !ok {
			unknown = append(unknown, name)
		}
		return value
	})
	return expanded, unknown
}

// connection returns the connection string that a binding's connection names (ServiceBusClientFactory.cs).
func (s settings) connection(name string) (string, error) {
	if name == "" {
		name = "ServiceBus"
	}
	for _, key := range []string{"AzureWebJobs" + name, name} {
		if s[key] != "" {
			return s[key], nil
		}
		if s[key+"__fullyQualifiedNamespace"] != "" {
			return "", fmt.Errorf("connection %q is identity-based, which is not supported by this stand-in: give a connection string", name)
		}
	}
	return "", fmt.Errorf("connection %q: the app setting is missing or empty", name)
}

// disabled tells whether an app setting switches the function off.
func (s settings) disabled(function string) bool {
	for _, key := range []string{"AzureWebJobs." + function + ".Disabled", "AzureWebJobs__" + function + "__Disabled"} {
		if v := strings.ToLower(s[key]); v == "true" || v == "1" {
			return true
		}
	}
	return false
}

// loadApp reads host.json and every function.json below root, and reports all their faults at once.
func loadApp(root string, env settings) (*app, error) {
	var f faults
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	a := &app{root: absolute}
	raw, err := os.ReadFile(filepath.Join(a.root, "host.json"))
	if err != nil {
		return nil, fmt.Errorf("host.json must lie at the root of the app: %w", err)
	}
	prefix, forwarding, bundle := a.readHostJSON(parseObject("host.json", raw, &f), env)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(name, "AzureFunctionsJobHost__") {
			f.addf("app setting %s overrides host.json, which is not supported by this stand-in", name)
		}
	}
	if r := env["FUNCTIONS_WORKER_RUNTIME"]; r != "" && r != "custom" {
		f.addf("app setting FUNCTIONS_WORKER_RUNTIME is %q: a custom handler needs \"custom\"", r)
	}

	entries, err := os.ReadDir(a.root)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(a.root, entry.Name(), "function.json"))
		if errors.Is(err, fs.ErrNotExist) || err != nil && !entry.IsDir() {
			continue // not a function: only first-level folders with a function.json are
		}
		if err != nil {
			f.addf("%w", err)
			continue
		}
		if fn := readFunction(entry.Name(), raw, env, prefix, &f); fn != nil {
			a.functions = append(a.functions, fn)
		}
	}
	slices.SortFunc(a.functions, func(x, y *function) int {
		return strings.Compare(strings.ToLower(x.name), strings.ToLower(y.name))
	})
	if len(a.functions) == 0 && len(f.list) == 0 {
		f.addf("no function found: the host would not start the handler at all")
	}
	for _, fn := range a.functions {
		if fn.http != nil && !forwarding {
			f.addf("function %s: HTTP needs customHandler.enableForwardingHttpRequest; the JSON envelope for HTTP is not supported by this stand-in", fn.name)
		}
		if fn.queue != nil && fn.queue.autoComplete != a.bus.autoComplete {
			a.warnings = append(a.warnings, fmt.Sprintf(
				"function %s: autoCompleteMessages is %t: host.json says otherwise, and function.json wins even when it does not mention it",
				fn.name, fn.queue.autoComplete))
		}
		if fn.queue != nil && !bundle {
			f.addf("function %s: its trigger comes from the extension bundle, and host.json has no extensionBundle", fn.name)
		}
	}
	a.checkRoutes(&f)
	return a, f.err()
}

func (a *app) readHostJSON(o *object, env settings) (prefix string, forwarding, bundle bool) {
	if v := o.text("version"); v != "2.0" {
		o.faults.addf("host.json: version is %q: it must be \"2.0\"", v)
	}
	a.functionTimeout = 30 * time.Minute // the default outside the Consumption plan
	if s := o.text("functionTimeout"); s == "-1" {
		a.functionTimeout = 0
	} else if s != "" {
		d, err := parseTimeSpan(s)
		if err == nil && d <= 0 {
			err = errors.New(`it must be positive, or "-1" for no limit`)
		}
		if err != nil {
			o.faults.addf("host.json: functionTimeout: %w", err)
		}
		a.functionTimeout = d
	}
	o.ignore("$schema", "logging", "healthMonitor", "singleton", "aggregator", "watchDirectories", "watchFiles", "telemetryMode")
	o.unsupported("concurrency", "retry", "functions", "id")

	b := o.child("extensionBundle")
	id, version := b.text("id"), b.text("version")
	b.done()
	if bundle = id != ""; bundle && (id != "Microsoft.Azure.Functions.ExtensionBundle" || !strings.HasPrefix(version, "[4.")) {
		o.faults.addf("host.json: extensionBundle %s %s: this stand-in speaks for Microsoft.Azure.Functions.ExtensionBundle [4.*, 5.0.0)", id, version)
	}

	forwarding = a.readHandler(o.child("customHandler"), env)

	ext := o.child("extensions")
	web := ext.child("http")
	prefix = "api"
	web.take("routePrefix", &prefix)
	web.unsupported("maxOutstandingRequests", "maxConcurrentRequests", "dynamicThrottlesEnabled", "hsts", "customHeaders")
	web.done()
	a.readBus(ext.child("serviceBus"))
	ext.done()
	o.done()
	return strings.Trim(prefix, "/"), forwarding, bundle
}

func (a *app) readHandler(o *object, env settings) (forwarding bool) {
	a.initTimeout = o.span("initializationTimeout", 30*time.Second)
	forwarding = o.flag("enableForwardingHttpRequest", false)
	if o.flag("enableProxyingHttpRequest", false) {
		o.faults.addf("%s: enableProxyingHttpRequest is not supported by this stand-in", o.where)
	}
	o.unsupported("http", "port")
	d := o.child("description")
	d.unsupported("defaultWorkerPath", "workerArguments", "workerDirectory")
	if !d.flag("useStdErrorStreamForErrorsOnly", true) {
		d.faults.addf("%s: useStdErrorStreamForErrorsOnly false is not supported by this stand-in", d.where)
	}
	for _, arg := range d.texts("arguments") {
		expanded, _ := env.expand(arg)
		a.args = append(a.args, strings.Fields(expanded)...) // the host joins them with spaces and quotes nothing
	}
	dir, _ := env.expand(d.text("workingDirectory"))
	a.dir = a.root
	if dir != "" {
		a.dir = dir
		if !filepath.IsAbs(dir) {
			a.dir = filepath.Join(a.root, dir)
		}
	}
	path, _ := env.expand(d.text("defaultExecutablePath"))
	d.done()
	o.done()
	if path == "" {
		o.faults.addf("%s: defaultExecutablePath is missing", d.where)
		return forwarding
	}
	var err error
	if a.command, err = findCommand(a.root, path); err != nil {
		o.faults.addf("%s: defaultExecutablePath: %w", d.where, err)
	}
	return forwarding
}

// findCommand takes the file in the app's root when it exists, and looks on PATH otherwise. The real host only notices
// a missing or non-executable file when the first invocation has waited for two minutes.
func findCommand(root, path string) (string, error) {
	if !filepath.IsAbs(path) {
		if inRoot := filepath.Join(root, path); fileExists(inRoot) {
			path = inRoot
		}
	}
	return exec.LookPath(path)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (a *app) readBus(o *object) {
	a.bus = busOptions{autoComplete: true}
	o.take("autoCompleteMessages", &a.bus.autoComplete)
	a.bus.maxRenewal = o.span("maxAutoLockRenewalDuration", 5*time.Minute)
	a.bus.maxCalls = o.number("maxConcurrentCalls", 16*runtime.NumCPU())
	a.bus.maxSessions = o.number("maxConcurrentSessions", 8)
	if n := o.number("maxConcurrentCallsPerSession", 1); n != 1 {
		o.faults.addf("%s: maxConcurrentCallsPerSession %d is not supported by this stand-in: 1 keeps a session's order", o.where, n)
	}
	tryTimeout := time.Minute
	retry := o.child("clientRetryOptions")
	tryTimeout = retry.span("tryTimeout", tryTimeout)
	retry.ignore("mode", "delay", "maxDelay", "maxRetries") // how fast the host's client retries is not observable
	retry.done()
	a.bus.sessionIdle = o.span("sessionIdleTimeout", tryTimeout)
	if a.bus.sessionIdle <= 0 {
		o.faults.addf("%s: sessionIdleTimeout must be positive", o.where)
	}
	var prefetch int
	if o.take("prefetchCount", &prefetch) && prefetch != 0 {
		o.faults.addf("%s: prefetchCount %d is not supported by this stand-in: prefetched messages lose their locks while they wait", o.where, prefetch)
	}
	o.ignore("maxMessageBatchSize", "minMessageBatchSize", "maxBatchWaitTime") // for cardinality many
	o.unsupported("enableCrossEntityTransactions", "transportType", "webProxy")
	o.done()
}

// checkRoutes reports routes that cannot both be reached, and warns of routes that meet a function's own address.
func (a *app) checkRoutes(f *faults) {
	for i, x := range a.functions {
		if x.http == nil {
			continue
		}
		for _, y := range a.functions[:i] {
			if y.http != nil && x.http.route.shape() == y.http.route.shape() && x.http.sharesMethod(y.http) {
				f.addf("functions %s and %s have the same route /%s", y.name, x.name, x.http.route.template)
			}
		}
		for _, y := range a.functions {
			if y.http == nil && x.http.route.match([]string{y.name}) {
				a.warnings = append(a.warnings, fmt.Sprintf(
					"function %s: its route /%s matches /%s, where the host invokes function %s: anybody could pose as the host",
					x.name, x.http.route.template, y.name, y.name))
			}
		}
	}
}
