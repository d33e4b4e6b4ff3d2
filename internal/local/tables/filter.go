package tables

// Limits on one filter. The service documents 15 comparisons; the depth only keeps a hostile filter off the stack.
const (
	maxComparisons = 15
	maxDepth       = 100
)

// node is a parsed filter.
type node interface{ matches(row) bool }

type (
	andNode struct{ left, right node }
	orNode  struct{ left, right node }
	notNode struct{ of node }

	// comparison holds the property on the left whichever way the filter was written.
	comparison struct {
		name string
		op   string
		with value
	}
)

// mirrored gives the operator that means the same with its operands exchanged.
var mirrored = map[string]string{"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}

// parser reads the grammar
//
//	or      = and { "or" and }
//	and     = unary { "and" unary }
//	unary   = "not" unary | "(" or ")" | name | operand op operand
//
// of which one operand is a property and the other a constant. A lone name is a Boolean property.
type parser struct {
	lex         lexer
	tok         token
	comparisons int
	depth       int
}

// parseFilter reads a $filter; an empty one is nil and matches everything.
func parseFilter(s string) (node, error) {
	p := &parser{lex: lexer{rest: s}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokEnd {
		return nil, nil
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEnd {
		return nil, errQuerySyntax
	}
	if p.comparisons > maxComparisons {
		return nil, invalidInput("A filter may hold at most %d comparisons.", maxComparisons)
	}
	return n, nil
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) atWord(word string) bool { return p.tok.kind == tokName && p.tok.text == word }

func (p *parser) or() (node, error) {
	left, err := p.and()
	for err == nil && p.atWord("or") {
		var right node
		if err = p.advance(); err != nil {
			break
		}
		if right, err = p.and(); err == nil {
			left = orNode{left, right}
		}
	}
	return left, err
}

func (p *parser) and() (node, error) {
	left, err := p.unary()
	for err == nil && p.atWord("and") {
		var right node
		if err = p.advance(); err != nil {
			break
		}
		if right, err = p.unary(); err == nil {
			left = andNode{left, right}
		}
	}
	return left, err
}

func (p *parser) unary() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errQuerySyntax
	}
	defer func() { p.depth-- }()
	switch {
	case p.atWord("not"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.negated()
	case p.tok.kind == tokOpen:
		return p.group()
	}
	return p.comparison()
}

func (p *parser) group() (node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokClose {
		return nil, errQuerySyntax
	}
	return n, p.advance()
}

// negated reads what may follow not, which binds tighter than a comparison: "not A eq 1" compares (not A) with 1 and
// is refused.
func (p *parser) negated() (node, error) {
	if p.tok.kind != tokName || p.atWord("not") {
		n, err := p.unary()
		return notNode{n}, err
	}
	name := p.tok.text
	if mirrored[name] != "" || name == "and" || name == "or" {
		return nil, errQuerySyntax
	}
	p.comparisons++
	return notNode{comparison{name, "eq", value{typ: edmBoolean, num: 1}}}, p.advance()
}

func (p *parser) comparison() (node, error) {
	p.comparisons++
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	op := p.tok.text
	if p.tok.kind != tokName || mirrored[op] == "" {
		if left.kind != tokName {
			return nil, errQuerySyntax
		}
		return comparison{left.text, "eq", value{typ: edmBoolean, num: 1}}, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch {
	case left.kind == tokName && right.kind == tokLiteral:
		return comparison{left.text, op, right.val}, nil
	case left.kind == tokLiteral && right.kind == tokName:
		return comparison{right.text, mirrored[op], left.val}, nil
	}
	return nil, errQuerySyntax
}

func (p *parser) operand() (token, error) {
	t := p.tok
	if t.kind != tokName && t.kind != tokLiteral {
		return t, errQuerySyntax
	}
	if t.kind == tokName && (mirrored[t.text] != "" || t.text == "and" || t.text == "or" || t.text == "not" || t.text == "null") {
		return t, errQuerySyntax
	}
	return t, p.advance()
}
