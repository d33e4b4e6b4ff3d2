package policy

import (
	"fmt"
	"strings"
)

// Diff shows how the canonical YAML of two documents differs: lines that went
// with "-", lines that came with "+", three lines around them, and "@@" where
// lines are left out. It is empty when both say the same.
func Diff(old, new Document) string {
	if old.Equal(new) {
		return ""
	}
	changes := compare(lines(old), lines(new))
	const around = 3
	var b strings.Builder
	shown := -1 // the last line written
	for i := range changes {
		if !nearChange(changes, i, around) {
			continue
		}
		if i > shown+1 {
			fmt.Fprintf(&b, "@@ line %d @@\n", changes[i].line)
		}
		fmt.Fprintf(&b, "%c %s\n", changes[i].mark, changes[i].text)
		shown = i
	}
	return b.String()
}

func lines(d Document) []string {
	text := strings.TrimSuffix(string(d.YAML()), "\n")
	return strings.Split(text, "\n")
}

// change is a line of either text; mark is ' ', '-' or '+'.
type change struct {
	mark rune
	line int // in the new text, from 1
	text string
}

func nearChange(changes []change, i, around int) bool {
	for _, c := range changes[max(0, i-around):min(len(changes), i+around+1)] {
		if c.mark != ' ' {
			return true
		}
	}
	return false
}

// compare finds a longest common subsequence. Documents are small enough
// (MaxSize) for a table of all pairs of lines, and ends that agree are not even
// put into it.
func compare(a, b []string) []change {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	midA, midB := a[head:len(a)-tail], b[head:len(b)-tail]
	common := make([][]int32, len(midA)+1) // [i][j]: lines common to midA[i:] and midB[j:]
	for i := range common {
		common[i] = make([]int32, len(midB)+1)
	}
	for i := len(midA) - 1; i >= 0; i-- {
		for j := len(midB) - 1; j >= 0; j-- {
			if midA[i] == midB[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []change
	line := 1
	add := func(mark rune, text string) {
		out = append(out, change{mark, line, text})
		if mark != '-' {
			line++
		}
	}
	for _, text := range a[:head] {
		add(' ', text)
	}
	i, j := 0, 0
	for i < len(midA) || j < len(midB) {
		switch {
		case i < len(midA) && j < len(midB) && midA[i] == midB[j]:
			add(' ', midA[i])
			i, j = i+1, j+1
		case j == len(midB) || i < len(midA) && common[i+1][j] >= common[i][j+1]:
			add('-', midA[i])
			i++
		default:
			add('+', midB[j])
			j++
		}
	}
	for _, text := range a[len(a)-tail:] {
		add(' ', text)
	}
	return out
}
