package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"jitgate/internal/api"
)

var reportColumns = []string{
	"checkedAt", "vm", "name", "closed", "protected", "state",
	"interface", "address", "ports", "protocol", "internet", "internetAllowed", "internetBy", "network", "networkAllowed", "networkBy", "portProtected",
	"findings", "findingTexts",
}

// writeReportCSV writes a line for every machine, address and port range; the
// columns of the machine and its findings are the same on each of its lines.
func writeReportCSV(w io.Writer, r api.Report) {
	out := csv.NewWriter(w)
	line := func(cells []string) {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		_ = out.Write(cells) // w is memory
	}
	line(append([]string{}, reportColumns...))
	for _, m := range r.Machines {
		codes, texts := make([]string, len(m.Findings)), make([]string, len(m.Findings))
		for i, f := range m.Findings {
			codes[i], texts[i] = f.Code, f.Text
		}
		ports := m.Ports
		if len(ports) == 0 {
			ports = []api.PortReport{{}}
		}
		for _, p := range ports {
			portProtected := ""
			if len(m.Ports) > 0 {
				portProtected = strconv.FormatBool(p.Protected)
			}
			line([]string{
				r.CheckedAt.UTC().Format(time.RFC3339), m.VM, lastPart(m.VM), strconv.FormatBool(m.Closed), strconv.FormatBool(m.Protected), m.State,
				p.Interface, p.Address, p.Ports.Ports, p.Ports.Protocol,
				p.Internet.Reach, strings.Join(p.Internet.Allowed, ", "), csvDeciders(p.Internet),
				p.Network.Reach, strings.Join(p.Network.Allowed, ", "), csvDeciders(p.Network), portProtected,
				strings.Join(codes, ", "), strings.Join(texts, " "),
			})
		}
	}
	out.Flush()
}

func csvDeciders(e api.Exposure) string {
	var texts []string
	for _, d := range e.By {
		texts = append(texts, fmt.Sprintf("%s (%s, %d)", d.Rule, d.NSG, d.Priority))
	}
	for _, d := range e.Depends {
		texts = append(texts, fmt.Sprintf("perhaps %s (%s, %d)", d.Rule, d.NSG, d.Priority))
	}
	return strings.Join(texts, ", ")
}

// harmless keeps spreadsheets from running a cell: those that start like a formula
// get an apostrophe, which a spreadsheet takes for "this is text".
func harmless(cell string) string {
	text := clean(cell)
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + text
	}
	return text
}
