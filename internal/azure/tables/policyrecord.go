package tables

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"jitgate/internal/access"
	"jitgate/internal/policy"
)

// The stored form of policies, of the alert rules and of proposals.

func (c columns) setPerson(name string, p access.Person) {
	c[name+"Tenant"], c[name+"Object"], c[name+"Name"] = p.Tenant, p.Object, p.Name
}

func (c columns) person(name string) access.Person {
	return access.Person{Tenant: c.text(name + "Tenant"), Object: c.text(name + "Object"), Name: c.text(name + "Name")}
}

func (c columns) setSignature(s access.Signature) {
	c.setPerson("By", s.By)
	c.setPerson("Approver", s.Approver)
	c.setTime("At", s.At)
	delete(c, "Proposal") // of the version whose columns these were
	if s.Proposal != "" {
		c["Proposal"] = s.Proposal
	}
}

func (c columns) signature() (access.Signature, error) {
	at, err := c.time("At")
	return access.Signature{By: c.person("By"), Approver: c.person("Approver"), At: at, Proposal: c.text("Proposal")}, err
}

// policyColumns keeps the text as it was handed in, which is what people want to
// see again and what Parse reads; a document that never was text is kept as its
// canonical JSON.
func policyColumns(p policy.Policy, sign access.Signature) (columns, error) {
	text := p.Text
	if text == "" {
		data, err := json.Marshal(p.Document)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	c := columns{"Scope": p.Scope.String(), "Hash": p.Hash}
	c.setNumber("Version", int64(p.Version))
	c.setSignature(sign)
	return c, c.setText("Text", text)
}

func readPolicy(c columns) (policy.Policy, error) {
	version, err := c.number("Version")
	if err != nil {
		return policy.Policy{}, err
	}
	document, err := policy.Parse([]byte(c.text("Text")))
	if err != nil {
		return policy.Policy{}, err
	}
	return policy.New(document, int(version)), nil
}

// readVersion gives what can be read of a version: its number, its text and who signed
// it even if the document means nothing any more.
func readVersion(c columns) (access.PolicyVersion, error) {
	v := access.PolicyVersion{Removed: c.flag("Removed")}
	version, err := c.number("Version")
	if err != nil {
		return v, err
	}
	if v.Signature, err = c.signature(); err != nil {
		return v, err
	}
	if v.Policy, err = readPolicy(c); err != nil {
		v.Policy = policy.Policy{Document: policy.Document{Text: c.text("Text")}, Version: int(version)}
	}
	return v, nil
}

func rulesColumns(text string, version int, sign access.Signature) (columns, error) {
	c := columns{"Hash": textHash(text)}
	c.setNumber("Version", int64(version))
	c.setSignature(sign)
	return c, c.setText("Text", text)
}

func readRules(c columns) (access.AlertRules, error) {
	version, err := c.number("Version")
	if err != nil {
		return access.AlertRules{}, err
	}
	sign, err := c.signature()
	text := c.text("Text")
	return access.AlertRules{Text: text, Version: int(version), Hash: textHash(text), Signature: sign}, err
}

func textHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func proposalColumns(p access.Proposal) (columns, error) {
	c := columns{"ID": p.ID, "Key": p.Key, "Scope": p.Scope.String(), "Remove": p.Remove}
	c.setPerson("By", p.By)
	c.setTime("At", p.At)
	return c, c.setText("Text", p.Text)
}

func readProposal(c columns) (access.Proposal, error) {
	at, err := c.time("At")
	if err != nil {
		return access.Proposal{}, err
	}
	var scope policy.Scope
	err = scope.UnmarshalText([]byte(c.text("Scope")))
	return access.Proposal{ID: c.text("ID"), Key: c.text("Key"), Scope: scope, Text: c.text("Text"), Remove: c.flag("Remove"), By: c.person("By"), At: at}, err
}
