package tables

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The service's limits on one entity ("Understanding the Table service data model").
const (
	maxEntityBytes   = 1 << 20
	maxProperties    = 252
	maxPropertyUnits = 255 // length of a property name
)

// property is one named value.
type property struct {
	name string
	value
}

// entity is a stored row. It is never changed once it is in a table: a write puts a new one in its place, so readers
// need no lock to encode it.
type entity struct {
	pk, rk string
	ticks  int64 // Timestamp
	etag   string
	props  []property
}

// stamp gives the entity its Timestamp and the ETag made from it, in the service's form with escaped colons.
func (e *entity) stamp(ticks int64) {
	e.ticks = ticks
	e.etag = `W/"datetime'` + url.QueryEscape(formatTicks(ticks)) + `'"`
}

func (e *entity) lookup(name string) (value, bool) {
	switch name {
	case "PartitionKey":
		return value{typ: edmString, str: e.pk}, true
	case "RowKey":
		return value{typ: edmString, str: e.rk}, true
	case "Timestamp":
		return value{typ: edmDateTime, num: e.ticks}, true
	}
	for i := range e.props {
		if e.props[i].name == name {
			return e.props[i].value, true
		}
	}
	return value{}, false
}

// merged returns e with the properties of change laid over it.
func (e *entity) merged(change *entity) *entity {
	out := &entity{pk: e.pk, rk: e.rk, props: slices.Clone(e.props)}
	for _, p := range change.props {
		i := slices.IndexFunc(out.props, func(q property) bool { return q.name == p.name })
		if i < 0 {
			out.props = append(out.props, p)
		} else {
			out.props[i] = p
		}
	}
	return out
}

// checkLimits measures an entity as it would be stored, with the size formula the service publishes for billing.
func (e *entity) checkLimits() error {
	if len(e.props) > maxProperties {
		return errTooManyProperties
	}
	size := 4 + 2*(utf16Len(e.pk)+utf16Len(e.rk))
	for _, p := range e.props {
		size += 8 + 2*utf16Len(p.name)
		switch p.typ {
		case edmString:
			size += 2*utf16Len(p.str) + 4
		case edmBinary:
			size += len(p.str) + 4
		case edmGUID:
			size += 16
		case edmInt32:
			size += 4
		case edmBoolean:
			size++
		default:
			size += 8
		}
	}
	if size > maxEntityBytes {
		return errEntityTooLarge
	}
	return nil
}

// parseEntity reads a JSON entity. hasPK and hasRK tell which keys it carries; a URL may supply them instead.
func parseEntity(body []byte) (e *entity, hasPK, hasRK bool, err error) {
	fields, err := parseObject(body)
	if err != nil {
		return nil, false, false, err
	}
	types := map[string]edmType{}
	for _, f := range fields {
		if name, ok := strings.CutSuffix(f.name, "@odata.type"); ok {
			var typ string
			if json.Unmarshal(f.raw, &typ) != nil || !knownType(edmType(typ)) {
				return nil, false, false, errInvalidBody
			}
			types[name] = edmType(typ)
		}
	}
	e = &entity{props: make([]property, 0, len(fields))}
	for _, f := range fields {
		// Annotations and control information describe the entity; clients send back what they were sent.
		if strings.HasPrefix(f.name, "odata.") || strings.Contains(f.name, "@odata.") || f.name == "Timestamp" {
			continue
		}
		v, ok, err := parseValue(f.raw, types[f.name])
		if err != nil {
			return nil, false, false, err
		}
		switch f.name {
		case "PartitionKey", "RowKey":
			if !ok {
				continue
			}
			if v.typ != edmString {
				return nil, false, false, errInvalidBody
			}
			if err := checkKey(f.name, v.str); err != nil {
				return nil, false, false, err
			}
			if f.name == "PartitionKey" {
				e.pk, hasPK = v.str, true
			} else {
				e.rk, hasRK = v.str, true
			}
			continue
		}
		if err := checkPropertyName(f.name); err != nil {
			return nil, false, false, err
		}
		if ok {
			e.props = append(e.props, property{name: f.name, value: v})
		}
	}
	return e, hasPK, hasRK, e.checkLimits()
}

func knownType(t edmType) bool {
	switch t {
	case edmString, edmBoolean, edmInt32, edmInt64, edmDouble, edmDateTime, edmGUID, edmBinary:
		return true
	}
	return false
}

// checkPropertyName applies C# identifier rules, as the service does.
func checkPropertyName(name string) error {
	if utf16Len(name) > maxPropertyUnits {
		return errPropertyNameTooLong
	}
	for i, r := range name {
		switch {
		case r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r):
		case i > 0 && (unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc, unicode.Cf)):
		default:
			return errPropertyNameInvalid
		}
	}
	if name == "" {
		return errPropertyNameInvalid
	}
	return nil
}

type jsonField struct {
	name string
	raw  json.RawMessage
}

// parseObject reads one JSON object and keeps the order of its fields. A map would lose the order and hide duplicates.
func parseObject(body []byte) ([]jsonField, error) {
	if !utf8.Valid(body) {
		return nil, errInvalidBody
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errInvalidBody
	}
	var fields []jsonField
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, errInvalidBody
		}
		name, ok := t.(string)
		if !ok {
			return nil, errInvalidBody
		}
		if seen[name] {
			return nil, errDuplicateProperty
		}
		seen[name] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, errInvalidBody
		}
		fields = append(fields, jsonField{name: name, raw: raw})
	}
	if _, err := dec.Token(); err != nil {
		return nil, errInvalidBody
	}
	if dec.More() {
		return nil, errInvalidBody
	}
	return fields, nil
}
