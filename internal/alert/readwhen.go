package alert

import "strings"

// when also tells whether the rule is about our own body, whose alerts have a
// source.
func (r *reader) when(at field) (w when, fromOwn bool) {
	fields := r.Mapping(at, "rule", "severity", "service", "subscription", "custom", "condition", "source")
	w.rules = r.texts(fields["rule"], func(text string) bool {
		return text != "" && !strings.Contains(text[:len(text)-1], "*")
	}, "%.60q is no name or id of an alert rule; a * stands at the end only.")
	for _, item := range r.Sequence(fields["severity"], "leave it out, or list something") {
		n, ok := r.Number(item)
		if ok && (n < 0 || n > 4) {
			r.Fault(item, "Severity %d does not lie between 0, the worst, and 4.", n)
		}
		w.severities = append(w.severities, n)
	}
	services := r.texts(fields["service"], func(text string) bool { return foldService(text) != "" },
		"A service is a monitoringService of Azure Monitor, such as Platform; %.60q is none.")
	for _, service := range services {
		w.services = append(w.services, foldService(service))
	}
	w.subscriptions = r.texts(fields["subscription"], isUUID, "%.60q is no id of a subscription; write the UUID alone.")
	w.sources = r.texts(fields["source"], sourcePattern.MatchString, "%.60q is no source; it has 1 to 64 letters, digits, dots, dashes or underscores.")
	w.custom = r.custom(fields["custom"])
	w.condition = Fired
	if text, ok := r.Text(fields["condition"]); ok {
		w.condition = Condition(text)
		if w.condition != Fired && w.condition != Resolved {
			r.Fault(fields["condition"], "condition %.60q is not known; write Fired or Resolved.", text)
		}
	}
	fromOwn = fields["source"].Given()
	ofMonitor := fields["rule"].Given() || fields["severity"].Given() || fields["service"].Given() || fields["custom"].Given()
	switch {
	case fromOwn && (ofMonitor || fields["condition"].Given()):
		r.Fault(at, "An alert with a source has no rule, severity, service, custom and condition; leave them out.")
	case fields != nil && !fromOwn && !ofMonitor && !fields["subscription"].Given():
		r.Fault(at, `when names nothing; write rule: ["*"] if every alert is meant.`)
	}
	return w, fromOwn
}

func (r *reader) custom(f field) map[string]string {
	known := len(r.Faults)
	custom := map[string]string{}
	for _, e := range r.AnyMapping(f, "; put others in quotes") {
		if _, twice := custom[e.Key]; twice {
			r.Fault(e.Place, "%.60s is given twice; keep one of them.", e.Key)
		}
		text, ok := r.Text(e.Value)
		if ok && (line(text) != text || line(e.Key) != e.Key) {
			r.Fault(e.Value, "Names and values are read up to 256 printable characters; this one would never match.")
		}
		custom[e.Key] = text
	}
	if f.Given() && len(r.Faults) == known && len(custom) == 0 {
		r.Fault(f, "%s is empty; leave it out, or name a property.", f.Path)
	}
	return custom
}
