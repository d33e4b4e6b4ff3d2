package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"jitgate/internal/armid"
)

// Scope is where a policy counts: the tenant, a subscription, a resource group or
// a VM. The zero Scope is nowhere, so that a document nobody parsed covers nothing.
type Scope struct {
	tenant bool
	id     armid.ID
}

// Tenant is every machine of the installation, in whatever directory it lies.
var Tenant = Scope{tenant: true}

// tenantWord is how documents and people write [Tenant].
const tenantWord = "tenant"

// ScopeOf is the scope of an ARM id.
func ScopeOf(id armid.ID) Scope { return Scope{id: id} }

// ID is the ARM id of the scope, zero for the tenant.
func (s Scope) ID() armid.ID { return s.id }

// IsZero reports whether s is nowhere.
func (s Scope) IsZero() bool { return !s.tenant && s.id.IsZero() }

// String is the ARM id as it was written, or "tenant".
func (s Scope) String() string {
	if s.tenant {
		return tenantWord
	}
	return s.id.String()
}

// Equal ignores case, as ARM does.
func (s Scope) Equal(o Scope) bool { return s.tenant == o.tenant && s.id.Equal(o.id) }

// Contains reports whether vm lies in the scope.
func (s Scope) Contains(vm armid.ID) bool {
	return s.tenant && !vm.IsZero() || !s.id.IsZero() && vm.Within(s.id)
}

// Key is 64 hexadecimal characters, a legal storage key; for an ARM id the key of
// the id.
func (s Scope) Key() string {
	if s.tenant {
		return hashed(tenantWord)
	}
	return s.id.Key()
}

// MarshalText writes what documents hold.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads "tenant", an ARM id, or nothing as the zero Scope.
func (s *Scope) UnmarshalText(text []byte) error {
	if string(text) == tenantWord {
		*s = Tenant
		return nil
	}
	var id armid.ID
	err := id.UnmarshalText(text)
	if err == nil {
		*s = ScopeOf(id)
	}
	return err
}

// rank orders scopes by how near they are to a machine.
func (s Scope) rank() int {
	switch {
	case s.tenant:
		return 0
	case s.id.Type() != "":
		return 3
	case s.id.ResourceGroup() != "":
		return 2
	}
	return 1
}

// meets reports whether some machine can lie in both scopes.
func (s Scope) meets(o Scope) bool {
	return s.tenant || o.tenant || s.id.Within(o.id) || o.id.Within(s.id)
}

// Name is how sentences speak of the scope: "VM web01".
func (s Scope) Name() string {
	switch s.rank() {
	case 0:
		return "the tenant"
	case 1:
		return "subscription " + s.id.Name()
	case 2:
		return "resource group " + s.id.Name()
	}
	return "VM " + s.id.Name()
}

// folded is the scope with everything that ARM ignores taken out.
func (s Scope) folded() Scope {
	if id, err := armid.Parse(strings.ToLower(s.id.String())); err == nil {
		s.id = id
	}
	return s
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
