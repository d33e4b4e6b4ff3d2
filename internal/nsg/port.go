package nsg

import (
	"slices"
	"strings"
)

// ports is a run of port numbers, both ends included.
type ports struct{ first, last uint16 }

// parsePorts reads "22", "20-25" or "*". Azure takes "*" and "0-65535" for the
// same thing and so do we.
func parsePorts(text string) (ports, bool) {
	if text == "*" {
		return ports{0, 65535}, true
	}
	first, rest, ok := leadingNumber(text)
	if !ok || rest == "" {
		return ports{first, first}, ok
	}
	if rest[0] != '-' {
		return ports{}, false
	}
	last, rest, ok := leadingNumber(rest[1:])
	return ports{first, last}, ok && rest == "" && first <= last
}

// leadingNumber is strconv.ParseUint without its errors: a verdict reads
// thousands of ports.
func leadingNumber(text string) (n uint16, rest string, ok bool) {
	value, i := 0, 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if value = 10*value + int(text[i]-'0'); value > 65535 {
			return 0, "", false
		}
	}
	return uint16(value), text[i:], i > 0
}

// portSet reduces a list of a rule to sorted runs that neither overlap nor
// touch, and to the entries that are no ports.
func portSet(list []string) (runs []ports, names []string) {
	for _, text := range list {
		if r, ok := parsePorts(text); ok {
			runs = append(runs, r)
		} else {
			names = append(names, strings.ToLower(text))
		}
	}
	slices.SortFunc(runs, func(a, b ports) int { return int(a.first) - int(b.first) })
	merged := runs[:0]
	for _, r := range runs {
		if n := len(merged); n > 0 && int(r.first) <= int(merged[n-1].last)+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	slices.Sort(names)
	return merged, slices.Compact(names)
}

func allPorts(list []string) bool {
	for _, text := range list {
		if text == "*" || text == "0-65535" {
			return true
		}
	}
	runs, _ := portSet(list)
	return len(runs) == 1 && runs[0] == ports{0, 65535}
}
