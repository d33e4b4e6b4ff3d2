package local_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"jitgate/internal/local"
)

// TestEachPartServesAlone: a stand-in must be of use to other programs' clients
// without the rest of the stack.
func TestEachPartServesAlone(t *testing.T) {
	for part, names := range map[string][]string{
		local.ServiceBus: {"JITGATE_SERVICEBUS"}, local.Tables: {"JITGATE_TABLES"},
		local.ARM: {"JITGATE_ARM_URL"}, local.Entra: {"JITGATE_ENTRA_URL"},
	} {
		stack, err := local.Start(t.Context(), local.Options{Parts: []string{part}})
		if err != nil {
			t.Errorf("%s: %v", part, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(stack.Env)); !slices.Equal(got, names) {
			t.Errorf("%s tells %v, want %v", part, got, names)
		}
		for name, value := range stack.Env {
			if !strings.Contains(value, "127.0.0.1:") {
				t.Errorf("%s=%s is not on 127.0.0.1", name, value)
			}
		}
		stack.Close()
		stack.Close() // closing twice is harmless
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := local.Start(t.Context(), local.Options{Parts: []string{"cosmos"}}); err == nil || !strings.Contains(err.Error(), "servicebus") {
		t.Errorf("an unknown part: %v", err)
	}
	if _, err := local.Start(t.Context(), local.Options{Parts: []string{local.ServiceBus}, ServiceBusConfig: []byte(`{}`)}); err == nil {
		t.Error("a configuration without queues was accepted")
	}
	if _, err := local.Start(t.Context(), local.Options{Parts: []string{local.Host}, AppRoot: t.TempDir()}); err == nil {
		t.Error("an empty app folder was accepted")
	}
}
