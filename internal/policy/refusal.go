package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"jitgate/internal/armid"
)

// Refusal is one condition that an ask does not meet.
type Refusal struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`         // whole: what is not met and what would pass
	Policy   string `json:"policy,omitempty"` // Policy.Ref of the one that says so; empty when there is none
	Passes   string `json:"passes,omitempty"` // what would pass, in a few words; empty when nothing would
}

// Codes of refusals.
const (
	NoPolicyCode          = "no_policy"
	AmbiguousCode         = "policy_ambiguous"
	PortNotAllowed        = "port_not_allowed"
	SourceNotAllowed      = "source_not_allowed"
	SourceTooWide         = "source_too_wide"
	DurationOverPolicy    = "duration_over_policy"
	RequesterNotAllowed   = "requester_not_allowed"
	JustificationRequired = "justification_required"
	JustificationPattern  = "justification_pattern"
	OutsideWindow         = "outside_window"
	ConditionUnmet        = "condition_unmet"  // judged, and false
	ConditionFailed       = "condition_failed" // could not be judged, which counts as false
	NoApprover            = "no_approver"      // there cannot be enough who may agree
)

// lifted are the codes that breaking the glass overrules. What may be opened, for
// whom on the network and for how long stays as it is, and a reason stays due.
var lifted = map[string]bool{
	RequesterNotAllowed: true, JustificationPattern: true, OutsideWindow: true, ConditionUnmet: true, ConditionFailed: true,
}

// NoPolicy is the refusal of an ask for a machine that no policy covers.
func NoPolicy(vm armid.ID) Refusal {
	return Refusal{
		Code:     NoPolicyCode,
		Sentence: fmt.Sprintf("No policy covers %s; set one on it, on its resource group or on its subscription.", nameOf(vm)),
	}
}

// listed joins words and leaves out what no one would read.
func listed(words []string) string { return enumerated(words, " and ") }

func enumerated(words []string, last string) string {
	const most = 10
	if len(words) > most {
		words = append(words[:most:most], fmt.Sprintf("%d more", len(words)-most))
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + last + words[n-1]
	}
	return strings.Join(words, "")
}

func capital(sentence string) string {
	first, size := utf8.DecodeRuneInString(sentence)
	return string(unicode.ToUpper(first)) + sentence[size:]
}
