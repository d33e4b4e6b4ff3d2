package alert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (r *reader) when(at value[whenWritten], w whenWritten, path string) when {
	cond := when{condition: Fired}
	list(r, w.Rule, path+".rule", func(text string, item value[string], path string) {
		if star := strings.IndexByte(text, '*'); text == "" || star >= 0 && star != len(text)-1 {
			fault(r, item, path, "%.60q is no name or id of an alert rule; a * stands at the end only.", text)
		}
		cond.rules = append(cond.rules, strings.ToLower(text))
	})
	list(r, w.Severity, path+".severity", func(n int, item value[int], path string) {
		if n > 4 {
			fault(r, item, path, "Severity %d does not lie between 0, the worst, and 4.", n)
		}
		cond.severities = append(cond.severities, n)
	})
	list(r, w.Service, path+".service", func(text string, item value[string], path string) {
		if foldService(text) == "" {
			fault(r, item, path, "A service is a monitoringService of Azure Monitor, such as Platform.")
		}
		cond.services = append(cond.services, foldService(text))
	})
	list(r, w.Subscription, path+".subscription", func(text string, item value[string], path string) {
		if !isUUID(text) {
			fault(r, item, path, "%.60q is no id of a subscription; write the UUID alone.", text)
		}
		cond.subscriptions = append(cond.subscriptions, strings.ToLower(text))
	})
	list(r, w.Source, path+".source", func(text string, item value[string], path string) {
		if !sourcePattern.MatchString(text) {
			fault(r, item, path, "%.60q is no source; it has 1 to 64 letters, digits, dots, dashes or underscores.", text)
		}
		cond.sources = append(cond.sources, strings.ToLower(text))
	})
	cond.custom = r.custom(w.Custom, path+".custom")
	if text, ok := read(r, w.Condition, path+".condition"); ok {
		cond.condition = Condition(text)
		if cond.condition != Fired && cond.condition != Resolved {
			fault(r, w.Condition, path+".condition", "condition %.60q is not known; write Fired or Resolved.", text)
		}
	}
	ofMonitor := w.Rule.given || w.Severity.given || w.Service.given || w.Custom.given
	switch {
	case w.Source.given && (ofMonitor || w.Condition.given):
		fault(r, at, path, "An alert with a source has no rule, severity, service, custom and condition; leave them out.")
	case !w.Source.given && !ofMonitor && !w.Subscription.given:
		fault(r, at, path, `when names nothing; write rule: ["*"] if every alert is meant.`)
	}
	return cond
}

func (r *reader) custom(f value[map[string]value[string]], path string) map[string]string {
	written, ok := read(r, f, path)
	if ok && len(written) == 0 {
		fault(r, f, path, "%s is empty; leave it out, or name a property.", path)
	}
	custom := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		item := written[name]
		itemPath := fmt.Sprintf("%s.%.60s", path, name)
		text, ok := read(r, item, itemPath)
		if ok && (line(text) != text || line(name) != name) {
			fault(r, item, itemPath, "Names and values are read up to 256 printable characters; this one would never match.")
		}
		custom[name] = text
	}
	return custom
}
