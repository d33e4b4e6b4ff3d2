package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// thing is a language with one key for everything that a Reader reads.
type thing struct {
	Text, Line, Paragraph, Port string
	Number                      int
	Flag                        bool
	List                        []string
	Any                         map[string]string
}

func readThing(text string) (thing, error) {
	var r Reader
	return Read([]byte(text), &r, func(root Field) (v thing) {
		f := r.Mapping(root, "text", "line", "paragraph", "port", "number", "flag", "list", "free", "any")
		v.Text, _ = r.Text(r.Required(root, f, "text"))
		v.Line, _ = r.Line(f["line"], 8)
		v.Paragraph, _ = r.Paragraph(f["paragraph"])
		v.Port, _ = r.TextOrNumber(f["port"])
		v.Number, _ = r.Number(f["number"])
		v.Flag, _ = r.Flag(f["flag"])
		for _, item := range append(r.Sequence(f["list"], "fill it"), r.Sequence(f["free"], "")...) {
			text, _ := r.Text(item)
			v.List = append(v.List, text)
		}
		for _, e := range r.AnyMapping(f["any"], "; quote it") {
			if v.Any == nil {
				v.Any = map[string]string{}
			}
			v.Any[e.Key], _ = r.Text(e.Value)
		}
		return v
	})
}

func TestRead(t *testing.T) {
	want := thing{Text: "a", Line: "é b", Paragraph: "x\ny", Port: "22", Number: -7, Flag: true, List: []string{"", "b"}, Any: map[string]string{"k": "1"}}
	for what, text := range map[string]string{
		"YAML":            "# c\n---\ntext: a\nline: é b\nparagraph: |\n  x\n  y\nport: 22\nnumber: -7\nflag: true\nlist:\n- ''\n- b\nfree: []\nany: {k: '1'}\n...\n# c\n",
		"JSON":            `{"text": "a", "line": "\u00e9 b", "paragraph": "x\ny", "port": "22", "number": -7, "flag": true, "list": ["", "b"], "any": {"k": "1"}}`,
		"byte order mark": "\ufefftext: a\r\nline: é b\r\nparagraph: \"x\\ny\"\r\nport: 22\r\nnumber: -7\r\nflag: true\r\nlist: [\"\", b]\r\nany:\r\n  k: \"1\"\r\n",
	} {
		got, err := readThing(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", what, err, diff)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		what, text string
		want       []string // "line:column path: part of the sentence"
	}{
		{"all at once", "text: 1\nline: ''\nlien: x\nline: y\nflag: \"true\"\n", []string{
			"1:7 text: text must be text, not the number 1.", "2:7 line: line is empty; leave it out or fill it.",
			`3:1 lien: "lien" is not known here; the keys are text, line, paragraph, port, number, flag, list, free, any.`,
			"4:1 line: line is given twice; keep one of them.", "5:7 flag: flag must be true or false, not text."}},
		{"missing", "\nflag: false\nline: abcdefghi", []string{"2:1 text: text is missing.", "3:7 line: line has 9 characters; at most 8 are read."}},
		{"null", "text:\nnumber: ~\nlist: [null]\nany: {k: }", []string{
			"1:1 text: text has no value; it must be text.", "2:1 number: number has no value; it must be a whole number in plain digits.",
			"3:8 list[0]: list[0] has no value; it must be text.", "4:7 any.k: any.k has no value; it must be text."}},
		{"numbers", "text: a\nnumber: 0x16\nport: 2.5\nlist: [.5]", []string{
			"2:9 number: number must be a whole number in plain digits, not the number 0x16.", "3:7 port: port must be text, not the number 2.5.", "4:8 list[0]: list[0] must be text, not the number .5."}},
		{"other types", "text: {a: 1}\nline: \"a\\tb\"\nnumber: |\n  7\nlist: x\nany: []\nflag: [true]\n", []string{
			"1:7 text: text must be text, not keys and values.", "2:7 line: line holds characters that cannot be shown, such as control characters or line breaks; take them out.",
			"3:9 number: number must be a whole number in plain digits, not text of several lines.", "5:7 list: list must be a list, not text.",
			"6:6 any: any must be keys and values, not a list.", "7:7 flag: flag must be true or false, not a list."}},
		{"lists without entries", "text: a\nlist: []\nfree: []", []string{"2:7 list: list is empty; fill it."}},
		{"anchors, aliases and tags", "text: &a x\nline: *a\nflag: !!bool true\n<<: *a\nany:\n  1: x\n  true: y", []string{
			"1:7 text: text is an anchor or alias", "2:7 line: line is an anchor or alias", "3:7 flag: flag must be true or false, not a tagged value.",
			"4:1 : A key is a plain word, one of text", "6:3 any: A key is a plain word; quote it.", "7:3 any: A key is a plain word; quote it."}},

		{"nothing", "# soon\n", []string{"1:1 : The document is empty."}},
		{"null alone", "null", []string{"1:1 : The document is empty."}},
		{"a list alone", "\n- a\n", []string{"2:1 : The document must be keys and values, not a list."}},
		{"no YAML", "text: [a", []string{"1:7 : The document is no YAML or JSON"}},
		{"bare star", "list: [a, *]", []string{`1:12 : The document is no YAML or JSON: unexpected scalar value type. If * is meant as a value, write "*" in quotes.`}},
		{"two JSON values", "{} {}", []string{"1:4 : The document is no YAML or JSON"}},
		{"second document", "text: a\n---\ntext: b", []string{"2:1 : A second document starts here; give each a file of its own."}},
		{"empty second document", "text: a\n---\n", []string{"2:1 : A second document starts here"}},
		{"second document after an end", "text: a\n...\ntext: b", []string{"3:5 : A second document starts here"}},
		{"directive", "%YAML 1.2\n---\ntext: a", []string{"1:1 : Directives are not read; leave the line out."}},
		{"not UTF-8", "text: a\n# d\xe9", []string{"2:4 : The document is not in UTF-8."}},
		{"too large", strings.Repeat("#", MaxSize+1), []string{"1:1 : The document has 65537 bytes; at most 65536 are read."}},
		{"deep brackets", "a: " + strings.Repeat("[", MaxSize-3), []string{"1:24 : The document is nested more than 20 levels deep."}},
		{"deep braces", strings.Repeat("{a: ", MaxSize/4), []string{"1:81 : The document is nested more than 20 levels deep."}},
		{"deep entries", strings.Repeat("- ", MaxSize/2), []string{"1:41 : The document is nested more than 20 levels deep."}},
	} {
		t.Run(c.what, func(t *testing.T) {
			v, err := readThing(c.text)
			var faults Faults
			if !errors.As(err, &faults) || !cmp.Equal(v, thing{}) {
				t.Fatalf("it reads as %+v, %v", v, err)
			}
			for i, f := range faults {
				got := fmt.Sprintf("%d:%d %s: %s", f.Line, f.Column, f.Path, f.Sentence)
				if i >= len(c.want) || !strings.HasPrefix(got, c.want[i]) {
					t.Errorf("fault %d is %s", i, got)
				}
			}
			if len(faults) < len(c.want) {
				t.Errorf("%d faults, want %d", len(faults), len(c.want))
			}
		})
	}
}

func TestFaultsAreFewAndShort(t *testing.T) {
	_, err := readThing(strings.Repeat("a: 1\n", 10000))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != MaxFaults {
		t.Errorf("%d faults", len(faults))
	}
	for what, long := range map[string]string{"word": strings.Repeat("x", 10000), "number": "0." + strings.Repeat("1", 10000)} {
		for _, text := range []string{long + ": 1", "text: " + long + "\nlist: " + long, "text: [" + long + "]", "any: {" + long + ": }"} {
			if _, err := readThing(text); err == nil || len(err.Error()) > 1000 {
				t.Errorf("%s, %.30s…: %d characters", what, text, len(err.Error()))
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("text: a\nlist: [&a 1, *a, !!str x]\nany: {1: 2, ? b : c}\n<<: {}\n")
	f.Add("%TAG ! x\n---\n- - ? - : |\n x\n...\n\"\\x")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := readThing(text)
		var faults Faults
		switch {
		case err == nil && (len(text) > MaxSize || !utf8.ValidString(text)):
			t.Fatalf("accepted as %+v", v)
		case err != nil && (!errors.As(err, &faults) || len(faults) == 0 || len(faults) > MaxFaults):
			t.Fatalf("an error without faults: %v", err)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Sentence == "" {
				t.Fatalf("a fault nowhere: %+v", fault)
			}
		}
	})
}
