package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
)

// format is the value of --output.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

func (f *format) String() string {
	if *f == "" {
		*f = formatTable
	}
	return string(*f)
}

// Set is called by the flag parser.
func (f *format) Set(text string) error {
	switch format(text) {
	case formatTable, formatJSON:
		*f = format(text)
		return nil
	}
	return errors.New("it is table or json")
}

// Type names the value in help texts.
func (f *format) Type() string { return "format" }

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

// writeTable writes rows under a header; without a header the first column is one.
func writeTable(w io.Writer, header table.Row, rows []table.Row) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	if header != nil {
		t.AppendHeader(header)
	}
	for _, row := range rows {
		for i, cell := range row {
			if text, ok := cell.(string); ok {
				row[i] = clean(text)
			}
		}
		t.AppendRow(row)
	}
	_, _ = fmt.Fprintln(w, t.Render())
}

// coloured is a cell that carries its own escape sequences.
type coloured string

// state colours a state on a terminal: green is open, yellow is under way, red went
// wrong.
func (a *App) state(s string) any {
	if !a.colour(a.Stdout) {
		return s
	}
	colour := "33"
	switch s {
	case "Active":
		colour = "32"
	case "Denied", "Rejected", "Failed", "Lapsed":
		colour = "31"
	case "Cancelled", "Expired", "Revoked":
		colour = "2"
	}
	return coloured("\x1b[" + colour + "m" + clean(s) + "\x1b[0m")
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
