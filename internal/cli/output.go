package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Formats of data on stdout.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatCSV   = "csv"
)

// formatFlag is the flag --output of commands that know these formats.
type formatFlag struct {
	value *string
	known []string
}

func (f formatFlag) String() string {
	if f.value == nil { // pflag looks at the zero flag to learn what no default is
		return ""
	}
	return *f.value
}

// Set is called by the flag parser.
func (f formatFlag) Set(text string) error {
	if !slices.Contains(f.known, text) {
		last := len(f.known) - 1
		return fmt.Errorf("it is %s or %s", strings.Join(f.known[:last], ", "), f.known[last])
	}
	*f.value = text
	return nil
}

// Type names the value in help texts.
func (f formatFlag) Type() string { return "format" }

// print writes data: the value as JSON, or what show makes for people.
func (a *App) print(value any, show func(io.Writer)) error {
	var out strings.Builder
	if a.format == formatJSON {
		encoder := json.NewEncoder(&out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
	} else {
		show(&out)
	}
	a.clearLine()
	if _, err := io.WriteString(a.Stdout, out.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// under is the only cell of a row that is a line of text below the row before.
type under string

// writeTable writes rows under a header; without a header the first column is one.
func writeTable(w io.Writer, header table.Row, rows []table.Row) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	lines := 0
	if header != nil {
		t.AppendHeader(header)
		lines++
	}
	notes := map[int][]under{} // by the number of lines above
	for _, row := range rows {
		if note, ok := row[0].(under); ok {
			notes[lines] = append(notes[lines], note)
			continue
		}
		for i, cell := range row {
			if text, ok := cell.(string); ok {
				row[i] = clean(text)
			}
		}
		t.AppendRow(row)
		lines++
	}
	for i, line := range strings.Split(t.Render(), "\n") {
		_, _ = fmt.Fprintln(w, line)
		for _, note := range notes[i+1] {
			_, _ = fmt.Fprintf(w, "  %s\n", clean(string(note)))
		}
	}
}

// coloured is a cell that carries its own escape sequences.
type coloured string

// Colours, as terminals number them.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

// paint colours text on a terminal.
func (a *App) paint(colour, text string) any {
	text = clean(text)
	if !a.colour(a.Stdout) {
		return text
	}
	return coloured("\x1b[" + colour + "m" + text + "\x1b[0m")
}

// state colours a state: green is as it was asked for, yellow is under way, red went
// wrong.
func (a *App) state(s string) any {
	switch s {
	case "Active", "Protected":
		return a.paint(green, s)
	case "Denied", "Rejected", "Failed", "Lapsed", "Blocked":
		return a.paint(red, s)
	case "Cancelled", "Expired", "Revoked", "Unprotected":
		return a.paint(dim, s)
	}
	return a.paint(yellow, s)
}

// clean takes control characters out of text that others wrote, a justification
// for example: on a terminal they could hide or fake what is shown.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
