package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/policy"
)

// parseDuration reads "1h30m" and "PT1H30M" and returns the ISO 8601 form, which
// the API takes.
func parseDuration(text string) (string, error) {
	d, err := durationOf(text)
	if err != nil {
		return "", err
	}
	return policy.FormatDuration(d), nil
}

func durationOf(text string) (d time.Duration, err error) {
	if strings.HasPrefix(text, "P") {
		d, err = policy.ParseDuration(text)
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return 0, usage("%q is not a duration; write one such as 1h, 90m, 1h30m or PT1H", text)
	}
	return d, nil
}

func parsePorts(texts []string) ([]api.Port, error) {
	var ports []api.Port
	for _, text := range texts {
		p, err := policy.ParsePort(text)
		if err != nil {
			return nil, usage("%q is not a port; write one such as 22, 22/tcp or 53/udp", text)
		}
		ports = append(ports, api.Port{Port: int(p.Number), Protocol: string(p.Protocol)})
	}
	return ports, nil
}

// parsePortRanges reads "22", "5985-5986" and "53/udp".
func parsePortRanges(texts []string) ([]api.PortRange, error) {
	var ranges []api.PortRange
	for _, text := range texts {
		numbers, protocol, given := strings.Cut(text, "/")
		if !given {
			protocol = string(policy.TCP)
		}
		first, last, isRange := strings.Cut(numbers, "-")
		if !isRange {
			last = first
		}
		from, err := policy.ParsePort(first + "/" + protocol)
		to, err2 := policy.ParsePort(last + "/" + protocol)
		if err != nil || err2 != nil || from.Number > to.Number {
			return nil, usage("%q is not a port or a range; write one such as 22, 22/tcp, 5985-5986 or 53/udp", text)
		}
		if from == to {
			last, isRange = "", false
		}
		ports := first
		if isRange {
			ports += "-" + last
		}
		ranges = append(ranges, api.PortRange{Ports: ports, Protocol: string(from.Protocol)})
	}
	return ranges, nil
}

// moment writes a time to the minute, in the zone of the clock, and how far away
// it is: "2026-03-01 14:05 CET (in 59m)".
func (a *App) moment(t time.Time) string {
	now := a.Clock.Now()
	text := t.In(now.Location()).Format("2006-01-02 15:04 MST")
	switch d := t.Sub(now); {
	case d >= time.Minute:
		return text + " (in " + short(d.Truncate(time.Minute)) + ")"
	case d > 0:
		return text + " (in less than a minute)"
	case d > -time.Minute:
		return text + " (just now)"
	default:
		return text + " (" + short((-d).Truncate(time.Minute)) + " ago)"
	}
}

// end says when a target ends or has ended. The expiry of one that ended early is
// no longer true and is not shown.
func (a *App) end(t api.Target) string {
	switch {
	case t.EndedAt != nil:
		return "ended " + a.moment(*t.EndedAt)
	case t.ExpiresAt != nil && underAccess(t.State):
		return a.moment(*t.ExpiresAt)
	}
	return ""
}

// underAccess: access is open, about to be, or about to end.
func underAccess(state string) bool {
	return state == "Approved" || state == "Active" || state == "Closing"
}

// short writes 1h0m0s as 1h, and days from two of them on.
func short(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// span writes the API's duration for people.
func span(iso string) string {
	d, err := policy.ParseDuration(iso)
	if err != nil {
		return iso
	}
	return short(d)
}

// name is the last part of an ARM id, or all of it with --wide.
func (a *App) name(id string) string {
	if a.wide {
		return id
	}
	return lastPart(id)
}

func lastPart(id string) string { return id[strings.LastIndex(id, "/")+1:] }

// some joins texts for a cell of a table: the first ones, or all with --wide.
func (a *App) some(texts []string) string {
	const enough = 3
	if a.wide || len(texts) <= enough+1 { // "and 1 more" is no shorter than the one
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:enough], ", "), len(texts)-enough)
}

func rangeList(ranges []api.PortRange) string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = r.Ports + "/" + r.Protocol
	}
	return strings.Join(texts, ", ")
}

func reasonText(r *api.Reason) string { return fmt.Sprintf("%s (%s)", r.Text, r.Code) }

// warningOf tells of a target that has a warning.
func warningOf(t api.Target) string { return lastPart(t.VM) + ": " + reasonText(t.Warning) }

func portList(ports []api.Port) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
	}
	return strings.Join(texts, ", ")
}

// distinct joins what map makes of the targets, each once, in their order.
func distinct(targets []api.Target, each func(api.Target) []string) string {
	var all []string
	for _, t := range targets {
		for _, text := range each(t) {
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, ", ")
}
