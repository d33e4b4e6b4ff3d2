package host

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// console writes the handler's output as the host logs it: a line of stdout is Information; a line of stderr is a
// Warning if it contains "warn", and an Error otherwise (host WorkerProcess.cs). It remembers the last three errors.
type console struct {
	mu     sync.Mutex
	out    io.Writer
	errors []string
}

const (
	keptErrors = 3
	maxLine    = 64 << 10
)

func (c *console) write(level, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if level == "Error" {
		c.errors = append(c.errors, line)
		if len(c.errors) > keptErrors {
			c.errors = c.errors[1:]
		}
	}
	_, _ = io.WriteString(c.out, level+": "+line+"\n") // nothing useful can be done when the reader is gone
}

// lastErrors returns and forgets the last lines of kind Error.
func (c *console) lastErrors() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.Join(c.errors, "; ")
	c.errors = nil
	return text
}

func stdoutLevel(string) string { return "Information" }

func stderrLevel(line string) string {
	if strings.Contains(strings.ToLower(line), "warn") {
		return "Warning"
	}
	return "Error"
}

// lines is one stream of the handler, cut into lines. One goroutine of os/exec writes to it.
type lines struct {
	to    *console
	level func(line string) string
	rest  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found && len(line) < maxLine {
			return len(p), nil
		}
		l.emit(line)
		l.rest = append([]byte(nil), rest...)
	}
}

// flush writes what the process left without an end of line.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.emit(l.rest)
		l.rest = nil
	}
}

func (l *lines) emit(line []byte) {
	text := strings.TrimSuffix(string(line), "\r")
	l.to.write(l.level(text), text)
}
