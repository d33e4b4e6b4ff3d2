package storetest

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// wantFilled keeps samples honest: a field that is zero everywhere in v would come back
// right from a store that forgets it.
func wantFilled(t *testing.T, v any) {
	t.Helper()
	seen := map[string]bool{}
	survey(reflect.ValueOf(v), reflect.TypeOf(v).Name(), seen)
	for path, filled := range seen {
		if !filled {
			t.Errorf("%s is not set in the sample", path)
		}
	}
}

// survey notes for each field whether it is set anywhere; elements of a list count as
// one.
func survey(v reflect.Value, path string, seen map[string]bool) {
	switch v.Interface().(type) {
	case time.Time, netip.Addr, netip.Prefix, armid.ID, policy.Scope:
		seen[path] = seen[path] || !v.IsZero()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			survey(v.Field(i), path+"."+v.Type().Field(i).Name, seen)
		}
	case reflect.Pointer:
		if seen[path] = seen[path] || !v.IsNil(); !v.IsNil() {
			survey(v.Elem(), path, seen)
		}
	case reflect.Slice:
		seen[path] = seen[path] || v.Len() > 0
		for i := range v.Len() {
			survey(v.Index(i), path+"[]", seen)
		}
	default:
		seen[path] = seen[path] || !v.IsZero()
	}
}
