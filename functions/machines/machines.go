// Package machines is the Azure Function behind api/machines: it finds virtual
// machines by name, so that people need not know ARM ids, shows what protects each
// and what would reach it, and takes wishes to protect and to unprotect. It decodes,
// calls internal/access and encodes; it decides nothing.
package machines

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// one is the path of a single machine: its ARM id, whose fixed words web brings
// into this spelling before an operation is looked up.
const one = "/api/machines/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{vm}"

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	operation := func(id, method, path, summary, description string, may identity.Operation) huma.Operation {
		return web.Operation(huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"machines"}}, may)
	}
	accepted := func(o huma.Operation) huma.Operation {
		o.DefaultStatus = http.StatusAccepted
		return o
	}
	huma.Register(a, operation("list-machines", http.MethodGet, "/api/machines",
		"List virtual machines in the subscriptions jitgate looks after", "Ordered by name, then by id.", identity.MachineRead), f.list)
	huma.Register(a, operation("report-machines", http.MethodGet, "/api/machines/report",
		"Report who can reach the management ports of all machines", "Live grants are left out of account.", identity.MachineReport), f.report)
	huma.Register(a, operation("get-machine", http.MethodGet, one,
		"Show how a machine is protected",
		"202 with Retry-After while rules are being written or put back; 200 otherwise, also when something stands in the way. A machine that never was protected is Unprotected; Azure is not asked whether it exists.", identity.MachineRead), f.show)
	huma.Register(a, accepted(operation("protect-machine", http.MethodPost, one+"/protect",
		"Keep ports of a machine closed",
		"Answers 202 once the wish is saved; poll Location until it answers 200. With whatIf=true nothing is saved and the answer is 200. Connections that are open go on: a rule only stops new ones.", identity.MachineProtect)), f.protect)
	huma.Register(a, accepted(operation("unprotect-machine", http.MethodPost, one+"/unprotect",
		"Take jitgate's deny rules away and put removed rules back",
		"Answers like protect-machine.", identity.MachineProtect)), f.unprotect)
	huma.Register(a, operation("explain-machine", http.MethodGet, one+"/explain",
		"Explain whether a packet reaches a machine, and by which rules", "", identity.MachineRead), f.explain)
	huma.Register(a, operation("list-machine-events", http.MethodGet, one+"/events",
		"Show the record of a machine's protection and of its NSGs", "Ordered by time. Each event keeps the number it has in its own record.", identity.MachineRead), f.events)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error { return web.Error(ctx, f.log, err) }

// Machine is a machine in a path. It is exported for huma, which looks into exported
// embedded fields only.
type Machine struct {
	Subscription string `path:"subscription" doc:"Subscription id."`
	Group        string `path:"group" doc:"Resource group."`
	VM           string `path:"vm" doc:"Name of the virtual machine."`
}

// id refuses what is no id. A slash that a part holds in encoded form makes an id
// of another type, and is refused with it.
func (m Machine) id() (armid.ID, error) {
	id, err := armid.ParseType("/subscriptions/"+m.Subscription+"/resourceGroups/"+m.Group+"/providers/"+armid.VirtualMachine+"/"+m.VM, armid.VirtualMachine)
	if err != nil {
		return id, access.Refusals{{Code: access.VMIDInvalid,
			Sentence: "The path does not hold the id of a virtual machine; write /api/machines/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/virtualMachines/…."}}
	}
	return id, nil
}

// seen is the machine, if the caller may look at it: those without a role of ours may
// where Azure RBAC makes them its requester or approver.
func (f function) seen(ctx context.Context, m Machine) (armid.ID, error) {
	vm, err := m.id()
	if err == nil && !web.Caller(ctx).May(identity.MachineRead) {
		err = f.service.Concerned(ctx, web.Person(ctx), vm)
	}
	return vm, err
}

// pathOf is where a machine is polled.
func pathOf(vm armid.ID) string { return "/api/machines" + vm.String() }

func (f function) show(ctx context.Context, in *struct{ Machine }) (*web.Answer[api.Protection], error) {
	vm, err := f.seen(ctx, in.Machine)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	p, err := f.protection(ctx, vm)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	switch p.State() {
	case access.Protecting, access.Unprotecting:
		return web.UnderWay(ctx, pathOf(vm), encodeProtection(p)), nil
	}
	return web.Settled(encodeProtection(p)), nil
}

// protection is that of a machine as recorded; one without a record never was
// protected.
func (f function) protection(ctx context.Context, vm armid.ID) (access.Protection, error) {
	p, err := f.service.Store.Protection(ctx, vm)
	if errors.Is(err, access.ErrNotFound) {
		return access.Protection{VM: vm}, nil
	}
	return p, err
}
