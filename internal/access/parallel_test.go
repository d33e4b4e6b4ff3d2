package access_test

import (
	"errors"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
)

// Two people at once: protect and unprotect of two machines of one NSG and of both NSGs
// of one machine, in parallel; also a race check.
func TestProtectionsInParallel(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-ssh-app01", 300, "*", "10.0.0.5", "22"))
	w.edit(nicNSG, allowFrom("allow-rdp-app01", 310, "*", "10.0.0.5", "3389"))
	before := [2]nsg.Group{w.group(subnetNSG), w.group(nicNSG)}
	for range 10 {
		done := make(chan error)
		for i := range 8 {
			go func() {
				vm := vmID([]string{"app01", "db01", "web01", "app01"}[i%4])
				var err error
				if i < 4 {
					_, err = w.service.Protect(ctx, vm, ports22, bob)
				} else {
					_, err = w.service.Unprotect(ctx, vm, nil, bob)
				}
				var refused access.Refusals
				if errors.As(err, &refused) || errors.Is(err, access.ErrUnavailable) {
					err = nil
				}
				done <- err
			}()
		}
		for range 8 {
			must(t, <-done)
		}
		w.deliver()
	}
	w.sweep()
	for _, name := range []string{"app01", "db01", "web01"} {
		if p, err := w.service.Store.Protection(ctx, vmID(name)); err == nil && p.Wanted {
			w.unprotect(vmID(name))
		}
	}
	w.deliver()
	w.sweep()
	wantSame(t, before[0], w.group(subnetNSG))
	wantSame(t, before[1], w.group(nicNSG))
}
