package api

import "time"

// Machine is a virtual machine.
type Machine struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state" enum:"Protecting,Protected,Unprotecting,Unprotected,Blocked" doc:"Of its protection; Unprotected for a machine that never was protected."`
}

// MachineList holds the machines that matched.
type MachineList struct {
	Machines []Machine `json:"machines"`
}

// PortRange is ports of one protocol.
type PortRange struct {
	Ports    string `json:"ports,omitempty" doc:"One port, or a range." example:"5985-5986"`
	Protocol string `json:"protocol,omitempty" doc:"TCP, UDP or * (any). Left out: TCP." example:"TCP"`
}

// NewProtection is the body of POST /api/machines/{id}/protect.
type NewProtection struct {
	Ports           []PortRange `json:"ports,omitempty" doc:"Ports to keep closed. Left out: those that are protected already, else 22/TCP and 3389/TCP."`
	FlushConnection *bool       `json:"flushConnection,omitempty" doc:"Left out: as it is. Have Azure judge open connections again whenever a rule of these NSGs changes. It concerns everything behind them."`
}

// EndProtection is the body of POST /api/machines/{id}/unprotect.
type EndProtection struct {
	Priorities map[string]int `json:"priorities,omitempty" doc:"Other priorities for rules that are to come back, by rule name: for those whose own was taken meanwhile."`
}

// Protection is whether and how a machine is protected.
type Protection struct {
	VM              string         `json:"vm"`
	State           string         `json:"state" enum:"Protecting,Protected,Unprotecting,Unprotected,Blocked"`
	Ports           []PortRange    `json:"ports,omitempty"`
	AllInterfaces   bool           `json:"allInterfaces,omitempty" doc:"Policy wants every network interface protected, not only the primary one."`
	FlushConnection bool           `json:"flushConnection,omitempty"`
	By              *Person        `json:"by,omitempty" doc:"Who asked for what holds now."`
	ChangedAt       *time.Time     `json:"changedAt,omitempty"`
	NSGs            []ProtectedNSG `json:"nsgs,omitempty"`
	Reason          *Reason        `json:"reason,omitempty" doc:"Why it ended by itself."`
}

// ProtectedNSG is a protection's share of one NSG.
type ProtectedNSG struct {
	NSG       string        `json:"nsg"`
	Addresses []string      `json:"addresses,omitempty" doc:"Private addresses of the machine."`
	Removed   []RemovedRule `json:"removed,omitempty" doc:"Rules of others that were removed and come back when the protection ends."`
	Done      bool          `json:"done" doc:"Azure confirmed it."`
	Problem   *Reason       `json:"problem,omitempty" doc:"What stands in the way."`
}

// RemovedRule is a security rule of which a copy is kept.
type RemovedRule struct {
	Name     string `json:"name"`
	Priority int    `json:"priority"`
}

// Forecast is what protecting or unprotecting changes.
type Forecast struct {
	WhatIf     bool            `json:"whatIf" doc:"Nothing was saved."`
	Protection Protection      `json:"protection"`
	NSGs       []NSGChange     `json:"nsgs"`
	Verdicts   []VerdictChange `json:"verdicts"`
	Warnings   []Finding       `json:"warnings,omitempty"`
}

// NSGChange is the change of one network security group.
type NSGChange struct {
	NSG             string       `json:"nsg"`
	Rules           []RuleChange `json:"rules"`
	FlushConnection *bool        `json:"flushConnection,omitempty" doc:"What the property is set to; absent when it stays."`
}

// RuleChange is what becomes of one security rule.
type RuleChange struct {
	Action       string   `json:"action" enum:"add,change,remove,keep" doc:"keep: a rule of others that speaks of these ports and stays."`
	Name         string   `json:"name"`
	Priority     int      `json:"priority"`
	Access       string   `json:"access"`
	Protocol     string   `json:"protocol"`
	Sources      []string `json:"sources"`
	Destinations []string `json:"destinations"`
	Ports        []string `json:"ports"`
}

// VerdictChange is who can reach ports of an address, before and after.
type VerdictChange struct {
	Interface string    `json:"interface"`
	Address   string    `json:"address"`
	Ports     PortRange `json:"ports"`
	From      string    `json:"from" doc:"internet, virtual network, or a range that policy allows."`
	Before    Exposure  `json:"before"`
	After     Exposure  `json:"after"`
}

// Exposure is which part of a set of sources can open a connection.
type Exposure struct {
	Reach   string    `json:"reach" enum:"open,partly,depends,closed" doc:"depends: rules decide that cannot be judged here."`
	Allowed []string  `json:"allowed,omitempty" doc:"Sources let in, when it is only a part of them; at most 20."`
	By      []Decider `json:"by,omitempty" doc:"The rules that decide."`
	Depends []Decider `json:"depends,omitempty" doc:"Rules that cannot be judged and could change the answer."`
}

// Decider is a rule in an NSG.
type Decider struct {
	NSG      string `json:"nsg"`
	Rule     string `json:"rule"`
	Priority int    `json:"priority"`
	Access   string `json:"access"`
}

// Finding is something that should be known about a machine.
type Finding struct {
	Code string `json:"code"`
	NSG  string `json:"nsg,omitempty"`
	Rule string `json:"rule,omitempty"`
	Text string `json:"text"`
}

// Explanation is the answer of GET /api/machines/{id}/explain.
type Explanation struct {
	VM       string      `json:"vm"`
	Source   string      `json:"source"`
	Port     int         `json:"port"`
	Protocol string      `json:"protocol"`
	Verdict  string      `json:"verdict" enum:"allow,deny,depends"`
	Ways     []Way       `json:"ways"`
	Grants   []LiveGrant `json:"grants,omitempty" doc:"Open grants that let this in."`
	Remedy   string      `json:"remedy,omitempty" doc:"What would open it."`
	Policy   string      `json:"policy,omitempty" doc:"Scope and version of the policy that would allow a request."`
	Blind    []string    `json:"blind" doc:"What jitgate does not see."`
}

// Way is one address of a machine and what stands before it.
type Way struct {
	Interface string           `json:"interface"`
	Address   string           `json:"address"`
	Verdict   string           `json:"verdict" enum:"allow,deny,depends"`
	NSGs      []NSGExplanation `json:"nsgs" doc:"In the order a packet meets them; empty when nothing filters."`
}

// NSGExplanation is what one NSG makes of a packet.
type NSGExplanation struct {
	NSG     string     `json:"nsg"`
	Verdict string     `json:"verdict" enum:"allow,deny,depends"`
	Steps   []RuleStep `json:"steps" doc:"In order of priority; the last one decides."`
}

// RuleStep is one rule looked at.
type RuleStep struct {
	Rule     string `json:"rule"`
	Priority int    `json:"priority"`
	Access   string `json:"access"`
	Matches  string `json:"matches" enum:"yes,no,unknown"`
	Why      string `json:"why,omitempty" doc:"Why it does not match, or cannot be judged."`
}

// LiveGrant is an open grant.
type LiveGrant struct {
	Request   string    `json:"request"`
	Rule      string    `json:"rule"`
	NSG       string    `json:"nsg"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Report is the answer of GET /api/machines/report.
type Report struct {
	CheckedAt time.Time       `json:"checkedAt"`
	Summary   ReportSummary   `json:"summary"`
	Machines  []MachineReport `json:"machines"`
}

// ReportSummary counts machines.
type ReportSummary struct {
	Machines  int `json:"machines"`
	Closed    int `json:"closed" doc:"Every port proven closed to the internet, live grants apart."`
	Open      int `json:"open" doc:"Not proven closed."`
	Protected int `json:"protected"`
}

// MachineReport is the finding about one machine.
type MachineReport struct {
	VM        string       `json:"vm"`
	Closed    bool         `json:"closed"`
	Protected bool         `json:"protected"`
	State     string       `json:"state" doc:"Of its protection, as recorded."`
	Ports     []PortReport `json:"ports"`
	Findings  []Finding    `json:"findings,omitempty"`
}

// PortReport is who can reach ports of an address, live grants apart.
type PortReport struct {
	Interface string    `json:"interface"`
	Address   string    `json:"address"`
	Ports     PortRange `json:"ports"`
	Internet  Exposure  `json:"internet"`
	Network   Exposure  `json:"network" doc:"From inside the virtual network."`
	Protected bool      `json:"protected"`
}
