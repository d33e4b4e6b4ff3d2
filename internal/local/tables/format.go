package tables

import (
	"net/http"
	"net/url"
	"strings"
)

// metadata is how much control information a JSON answer carries.
type metadata string

const (
	noMetadata      metadata = "nometadata"
	minimalMetadata metadata = "minimalmetadata"
	fullMetadata    metadata = "fullmetadata"
)

func (m metadata) contentType() string {
	return "application/json;odata=" + string(m) + ";streaming=true;charset=utf-8"
}

// negotiate picks the answer's format from $format, which overrides Accept. The service documents Accept as required
// and knows only JSON since version 2015-12-11.
func negotiate(query url.Values, header http.Header) (metadata, error) {
	accept := header.Get("Accept")
	if query.Has("$format") {
		accept = query.Get("$format")
	}
	refusal := errAtomFormat
	for media := range strings.SplitSeq(accept, ",") {
		parts := strings.Split(strings.ToLower(media), ";")
		if strings.TrimSpace(parts[0]) != "application/json" {
			continue
		}
		level := minimalMetadata
		for _, p := range parts[1:] {
			if v, ok := strings.CutPrefix(strings.TrimSpace(p), "odata="); ok {
				level = metadata(v)
			}
		}
		switch level {
		case noMetadata, minimalMetadata, fullMetadata:
			return level, nil
		case "verbose":
			refusal = errVerboseFormat
		}
	}
	return "", refusal
}

// encoder writes answers of one format; base is the URL the client used for the account.
type encoder struct {
	level   metadata
	base    string
	account string
}

// context opens a document with its odata.metadata, for instance "Tables" or "mytable/@Element".
func (enc encoder) context(b []byte, set string) []byte {
	if enc.level == noMetadata {
		return b
	}
	b = append(b, `"odata.metadata":`...)
	b = appendJSON(b, enc.base+"/$metadata#"+set)
	return append(b, ',')
}

// links writes the identity of a resource, which only full metadata carries; editLink is relative to the account.
func (enc encoder) links(b []byte, typ, editLink string) []byte {
	if enc.level != fullMetadata {
		return b
	}
	b = append(b, `"odata.type":`...)
	b = appendJSON(b, enc.account+"."+typ)
	b = append(b, `,"odata.id":`...)
	b = appendJSON(b, enc.base+"/"+editLink)
	b = append(b, `,"odata.editLink":`...)
	b = appendJSON(b, editLink)
	return append(b, ',')
}

// document is a single entity as an answer of its own.
func (enc encoder) document(table string, e *entity, selected []string) []byte {
	b := enc.context([]byte{'{'}, table+"/@Element")
	return enc.entity(b, table, e, selected)
}

// entity writes the fields of e and the closing brace. selected nil means all of them; a selected name the entity
// lacks is null, as the service answers it.
func (enc encoder) entity(b []byte, table string, e *entity, selected []string) []byte {
	if enc.level != noMetadata {
		b = enc.links(b, table, entityLink(table, e.pk, e.rk))
		b = append(b, `"odata.etag":`...)
		b = appendJSON(b, e.etag)
		b = append(b, ',')
	}
	if selected == nil {
		for _, name := range [...]string{"PartitionKey", "RowKey", "Timestamp"} {
			v, _ := e.lookup(name)
			b = enc.property(b, name, v)
		}
		for _, p := range e.props {
			b = enc.property(b, p.name, p.value)
		}
	}
	for _, name := range selected {
		if v, ok := e.lookup(name); ok {
			b = enc.property(b, name, v)
			continue
		}
		b = appendJSON(b, name)
		b = append(b, ":null,"...)
	}
	return closeObject(b)
}

func (enc encoder) property(b []byte, name string, v value) []byte {
	// Timestamp's type is part of the model, so only full metadata repeats it.
	if enc.level == fullMetadata && v.annotated() || enc.level == minimalMetadata && v.annotated() && name != "Timestamp" {
		b = appendJSON(b, name+"@odata.type")
		b = append(b, ':')
		b = appendJSON(b, string(v.typ))
		b = append(b, ',')
	}
	b = appendJSON(b, name)
	b = append(b, ':')
	return append(v.appendJSON(b), ',')
}

// closeObject turns the comma after the last field into the closing brace.
func closeObject(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}')
}

func entityLink(table, pk, rk string) string {
	key := func(s string) string { return "'" + url.PathEscape(strings.ReplaceAll(s, "'", "''")) + "'" }
	return table + "(PartitionKey=" + key(pk) + ",RowKey=" + key(rk) + ")"
}
