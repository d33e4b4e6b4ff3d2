package servicebus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sosodev/duration"
)

// Rules of the emulator's configuration file (its Config-schema.json and
// documentation).
const (
	emulatorNamespace = "sbemulatorns"
	maxEntities       = 50
	maxNameLength     = 260
)

var (
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9]([\w./-]*[A-Za-z0-9])?$`)
	loggingValues = []string{"File", "Console", "File,Console"}
)

// ParseConfig reads the official emulator's config.json. The error names every
// fault at once, each with its place in the file. Two things the emulator can
// do are refused: topics, and forwarding.
func ParseConfig(data []byte) (Config, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return Config{}, fmt.Errorf("read emulator configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("read emulator configuration: something follows the JSON object: remove it")
	}
	p := &parser{}
	c := p.file(root)
	if err := errors.Join(p.errs...); err != nil {
		return Config{}, fmt.Errorf("emulator configuration: %w", err)
	}
	return c, nil
}

// parser collects faults while it walks through the file.
type parser struct{ errs []error }

func (p *parser) fault(path, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// object is a JSON object whose keys are taken one by one; done reports those
// nobody took.
type object struct {
	p    *parser
	path string
	left map[string]any
}

func (p *parser) object(path string, v any) *object {
	m, ok := v.(map[string]any)
	if !ok {
		p.fault(path, "must be an object")
		return nil
	}
	return &object{p, path, maps.Clone(m)}
}

func (o *object) at(key string) string { return o.path + "." + key }

func (o *object) done() {
	for _, key := range slices.Sorted(maps.Keys(o.left)) {
		o.p.fault(o.at(key), "unknown key")
	}
}

// take removes and returns a value. A missing one is a fault if required.
func take[T any](o *object, key, kind string, required bool) (T, bool) {
	v, ok := o.left[key]
	delete(o.left, key)
	t, fits := v.(T)
	switch {
	case !ok && required:
		o.p.fault(o.at(key), "is missing")
	case ok && !fits:
		o.p.fault(o.at(key), "must be %s", kind)
	}
	return t, ok && fits
}

func (o *object) boolean(key string) bool {
	v, _ := take[bool](o, key, "true or false", false)
	return v
}

func (o *object) integer(key string, low, high, def int64) int {
	v, ok := take[json.Number](o, key, "a number", false)
	if !ok {
		return int(def)
	}
	n, err := v.Int64()
	if err != nil || n < low || n > high {
		o.p.fault(o.at(key), "must be a whole number from %d to %d, not %s", low, high, v)
	}
	return int(n)
}

func (o *object) duration(key string, low, high, def time.Duration) time.Duration {
	v, ok := take[string](o, key, "an ISO 8601 duration", false)
	if !ok {
		return def
	}
	d, err := duration.Parse(v)
	if err != nil {
		o.p.fault(o.at(key), "%q is not an ISO 8601 duration like PT5M", v)
		return def
	}
	t := d.ToTimeDuration()
	if t < low || t > high {
		o.p.fault(o.at(key), "must be from %s to %s, not %s", duration.Format(low), duration.Format(high), v)
	}
	return t
}

func (p *parser) file(root any) (c Config) {
	top := p.object("$", root)
	if top == nil {
		return c
	}
	defer top.done()
	v, ok := take[any](top, "UserConfig", "an object", true)
	if !ok {
		return c
	}
	user := p.object("UserConfig", v)
	if user == nil {
		return c
	}
	defer user.done()
	if v, ok := take[any](user, "Logging", "an object", true); ok {
		p.logging(v)
	}
	namespaces, ok := take[[]any](user, "Namespaces", "an array", true)
	if !ok {
		return c
	}
	if len(namespaces) != 1 {
		p.fault("UserConfig.Namespaces", "must hold exactly one namespace, not %d", len(namespaces))
	}
	for i, v := range namespaces {
		c.Queues = append(c.Queues, p.namespace(fmt.Sprintf("UserConfig.Namespaces[%d]", i), v)...)
	}
	return c
}

func (p *parser) logging(v any) {
	o := p.object("UserConfig.Logging", v)
	if o == nil {
		return
	}
	defer o.done()
	if t, ok := take[string](o, "Type", "a string", true); ok && !slices.Contains(loggingValues, t) {
		p.fault(o.at("Type"), "must be one of %s, not %q", strings.Join(loggingValues, " | "), t)
	}
}

func (p *parser) namespace(path string, v any) (queues []Queue) {
	o := p.object(path, v)
	if o == nil {
		return nil
	}
	defer o.done()
	if name, ok := take[string](o, "Name", "a string", true); ok && name != emulatorNamespace {
		p.fault(o.at("Name"), "must be %q, not %q", emulatorNamespace, name)
	}
	topics, _ := take[[]any](o, "Topics", "an array", true)
	if len(topics) > 0 {
		p.fault(o.at("Topics"), "topics are not supported by this stand-in: leave the array empty, or use the official emulator")
	}
	list, _ := take[[]any](o, "Queues", "an array", true)
	if n := len(list) + len(topics); n > maxEntities {
		p.fault(path, "has %d queues and topics, at most %d are allowed", n, maxEntities)
	}
	seen := map[string]bool{}
	for i, v := range list {
		q := p.queue(fmt.Sprintf("%s[%d]", o.at("Queues"), i), v)
		key := strings.ToLower(q.Name)
		if q.Name != "" && seen[key] {
			p.fault(fmt.Sprintf("%s[%d].Name", o.at("Queues"), i), "%q is used twice: names do not differ by case", q.Name)
		}
		seen[key] = true
		queues = append(queues, q)
	}
	return queues
}

func (p *parser) queue(path string, v any) (q Queue) {
	o := p.object(path, v)
	if o == nil {
		return q
	}
	defer o.done()
	if name, ok := take[string](o, "Name", "a string", true); ok {
		q.Name = name
		if len(name) > maxNameLength || !namePattern.MatchString(name) {
			p.fault(o.at("Name"), "%q is not a legal name: letters, digits and _ . - / inside, letters or digits at the ends", name)
		}
	}
	properties, ok := take[any](o, "Properties", "an object", false)
	if !ok {
		properties = map[string]any{}
	}
	props := p.object(o.at("Properties"), properties)
	if props == nil {
		return q
	}
	defer props.done()
	q.LockDuration = props.duration("LockDuration", 5*time.Second, 5*time.Minute, defaultLockDuration)
	q.MaxDeliveryCount = props.integer("MaxDeliveryCount", 1, 10, defaultDeliveryCount)
	q.DefaultMessageTimeToLive = props.duration("DefaultMessageTimeToLive", 5*time.Minute, time.Hour, defaultTimeToLive)
	q.DeadLetteringOnMessageExpiration = props.boolean("DeadLetteringOnMessageExpiration")
	q.RequiresSession = props.boolean("RequiresSession")
	q.RequiresDuplicateDetection = props.boolean("RequiresDuplicateDetection")
	q.DuplicateDetectionHistoryTimeWindow = props.duration("DuplicateDetectionHistoryTimeWindow", 5*time.Second, 5*time.Minute, defaultDuplicateWindow)
	for _, key := range []string{"ForwardTo", "ForwardDeadLetteredMessagesTo"} {
		if to, _ := take[string](props, key, "a string", false); to != "" {
			p.fault(props.at(key), "forwarding is not supported by this stand-in: leave it empty")
		}
	}
	return q
}
