package machines

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

// TestIDFromThePath: the parts make an id of a VM, or none at all, whatever they
// hold.
func TestIDFromThePath(t *testing.T) {
	const sub = "00000000-0000-0000-0000-000000000001"
	for _, c := range []struct {
		in   Machine
		want string
	}{
		{Machine{sub, "rg", "web01"}, "/subscriptions/" + sub + "/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/web01"},
		{Machine{sub, "Gruppe_(ä)", "Web-01.x"}, "/subscriptions/" + sub + "/resourceGroups/Gruppe_(ä)/providers/Microsoft.Compute/virtualMachines/Web-01.x"},
		{Machine{"demo", "rg", "web01"}, ""},
		{Machine{"", "rg", "web01"}, ""},
		{Machine{sub, "", "web01"}, ""},
		{Machine{sub, "rg", ""}, ""},
		{Machine{sub, "r g", "web01"}, ""},
		{Machine{sub, "rg", ".."}, ""},
		{Machine{sub, "rg", "web01\n"}, ""},
		{Machine{sub, "rg", strings.Repeat("v", 81)}, ""},
		{Machine{sub, "rg", "web01/extensions/x"}, ""},
		{Machine{sub, "rg/providers/Microsoft.Compute/virtualMachines/other", "web01"}, ""},
		{Machine{sub + "/resourceGroups/rg", "x", "web01"}, ""},
	} {
		got, err := c.in.id()
		var refusals access.Refusals
		if err != nil && (!errors.As(err, &refusals) || refusals[0].Code != access.VMIDInvalid) {
			t.Errorf("%+v: %v", c.in, err)
		}
		if got.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c.in, got, err)
		}
	}
}

// TestRecordsAreMergedByTime: events of one moment keep the order of the records, and
// each its number.
func TestRecordsAreMergedByTime(t *testing.T) {
	at := func(second, sequence int, text string) audit.Event {
		return audit.Event{At: time.Date(2026, 3, 1, 9, 0, second, 0, time.UTC), Sequence: sequence, Text: text}
	}
	got := byTime([][]audit.Event{
		{at(1, 1, "asked"), at(5, 2, "closed"), at(5, 3, "protected")},
		{at(1, 1, "edited"), at(3, 2, "repaired")},
		nil,
		{at(0, 1, "found"), at(5, 2, "gone")},
	})
	var order []string
	for _, e := range got {
		order = append(order, fmt.Sprintf("%d %s", e.Sequence, e.Text))
	}
	want := []string{"1 found", "1 asked", "1 edited", "2 repaired", "2 closed", "3 protected", "2 gone"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
