package tables

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxKeyUnits is 1 KiB of UTF-16.
const maxKeyUnits = 512

type resourceKind int

const (
	resTables   resourceKind = iota // /Tables
	resTable                        // /Tables('name')
	resEntities                     // /name and /name()
	resEntity                       // /name(PartitionKey='…',RowKey='…')
	resBatch                        // /$batch
)

// resource is what a request path points at.
type resource struct {
	kind   resourceKind
	prefix string // "/account" when the path carries it, else empty
	table  string
	pk, rk string
}

// parseResource reads an escaped URL path. The account may lead the path, as emulators have it.
func parseResource(escaped, account string) (resource, error) {
	var res resource
	segment := strings.TrimPrefix(escaped, "/")
	if rest, ok := strings.CutPrefix(segment, account+"/"); ok {
		segment, res.prefix = rest, "/"+account
	}
	if strings.Contains(segment, "/") {
		return res, errQuerySyntax // also a key with a bare slash, which no client may send
	}
	segment, err := url.PathUnescape(segment)
	if err != nil || !utf8.ValidString(segment) {
		return res, errQuerySyntax
	}
	switch segment {
	case "$batch":
		res.kind = resBatch
		return res, nil
	case "Tables":
		res.kind = resTables
		return res, nil
	}
	name, predicate, hasPredicate := strings.Cut(segment, "(")
	if hasPredicate && !strings.HasSuffix(predicate, ")") {
		return res, errQuerySyntax
	}
	predicate = strings.TrimSuffix(predicate, ")")
	if name == "Tables" {
		res.kind = resTable
		table, rest, ok := cutLiteral(predicate)
		if !ok || rest != "" {
			return res, errQuerySyntax
		}
		res.table = table
		return res, checkTableName(table)
	}
	res.table = name
	if err := checkTableName(name); err != nil {
		return res, err
	}
	res.kind = resEntities
	if predicate == "" {
		return res, nil
	}
	res.kind = resEntity
	return res, res.parseKeys(predicate)
}

// parseKeys reads "PartitionKey='…',RowKey='…'" in either order.
func (res *resource) parseKeys(predicate string) error {
	seen := map[string]string{}
	for rest := predicate; ; {
		name, tail, ok := strings.Cut(rest, "=")
		if !ok {
			return errQuerySyntax
		}
		value, tail, ok := cutLiteral(tail)
		if !ok || strings.ContainsAny(value, `/\`) {
			return errQuerySyntax
		}
		if _, again := seen[name]; again {
			return errQuerySyntax
		}
		seen[name] = value
		if tail == "" {
			break
		}
		if rest, ok = strings.CutPrefix(tail, ","); !ok {
			return errQuerySyntax
		}
	}
	pk, hasPK := seen["PartitionKey"]
	rk, hasRK := seen["RowKey"]
	if !hasPK || !hasRK || len(seen) != 2 {
		return errQuerySyntax
	}
	res.pk, res.rk = pk, rk
	if err := checkKey("PartitionKey", pk); err != nil {
		return err
	}
	return checkKey("RowKey", rk)
}

// cutLiteral takes a leading quoted OData string off s; a quote inside it is doubled.
func cutLiteral(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			i++
			continue
		}
		return strings.ReplaceAll(s[1:i], "''", "'"), s[i+1:], true
	}
	return "", "", false
}

// quoteLiteral is the inverse of cutLiteral.
func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

var tableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

func checkTableName(name string) error {
	if len(name) < 3 || len(name) > 63 {
		return errNameLength
	}
	if !tableName.MatchString(name) || strings.EqualFold(name, "tables") {
		return errInvalidResourceName
	}
	return nil
}

// checkKey enforces "Characters disallowed in key fields" and the key size of the Table service's data model.
func checkKey(name, value string) error {
	for _, r := range value {
		if strings.ContainsRune(`/\#?`, r) || r <= 0x1f || (r >= 0x7f && r <= 0x9f) {
			return refuse(400, "OutOfRangeInput", "The '"+name+"' parameter of value '"+value+"' is out of range.")
		}
	}
	if utf16Len(value) > maxKeyUnits {
		return errKeyValueTooLarge
	}
	return nil
}

// utf16Len counts the code units the service stores, on which all its string limits are based.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}
