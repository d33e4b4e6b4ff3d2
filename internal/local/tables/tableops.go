package tables

import (
	"encoding/json"
	"net/http"
)

func (s *Server) createTable(c *call) (*reply, error) {
	if err := requireJSON(c.header); err != nil {
		return nil, err
	}
	withBody, err := echo(c.header)
	if err != nil {
		return nil, err
	}
	name, err := tableNameIn(c.body)
	if err != nil {
		return nil, err
	}
	return s.perform(Op{Kind: "create-table", Table: name, Operations: 1}, func() (*reply, error) {
		if err := s.store.createTable(name); err != nil {
			return nil, err
		}
		var rep *reply
		if withBody {
			b := c.enc.context([]byte{'{'}, "Tables/@Element")
			rep = c.json(http.StatusCreated, c.enc.tableName(b, name))
		} else {
			rep = &reply{status: http.StatusNoContent, header: http.Header{}}
		}
		setPreference(rep.header, c.header)
		rep.header.Set("Location", c.enc.base+"/Tables('"+name+"')")
		return rep, nil
	})
}

func tableNameIn(body []byte) (string, error) {
	fields, err := parseObject(body)
	if err != nil {
		return "", err
	}
	for _, f := range fields {
		if f.name != "TableName" {
			continue
		}
		var name string
		if json.Unmarshal(f.raw, &name) != nil {
			return "", errInvalidBody
		}
		return name, checkTableName(name)
	}
	return "", errPropertiesNeedValue
}

func (s *Server) deleteTable(c *call) (*reply, error) {
	return s.perform(Op{Kind: "delete-table", Table: c.res.table, Operations: 1}, func() (*reply, error) {
		if err := s.store.deleteTable(c.res.table); err != nil {
			return nil, err
		}
		return &reply{status: http.StatusNoContent, header: http.Header{}}, nil
	})
}

// tableRow lets a filter look at a table in the list of tables.
type tableRow string

func (t tableRow) lookup(name string) (value, bool) {
	return value{typ: edmString, str: string(t)}, name == "TableName"
}

func (s *Server) listTables(c *call) (*reply, error) {
	spec, err := parseQuery(c.query)
	if err != nil {
		return nil, err
	}
	from, err := decodeToken(c.query.Get("NextTableName"))
	if err != nil {
		return nil, err
	}
	return s.perform(Op{Kind: "query", Operations: 1}, func() (*reply, error) {
		names, next := s.store.list(spec.filter, spec.top, from)
		b := c.enc.context([]byte{'{'}, "Tables")
		b = append(b, `"value":[`...)
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.enc.tableName(append(b, '{'), name)
		}
		rep := c.json(http.StatusOK, append(b, "]}"...))
		if next != "" {
			rep.header.Set("x-ms-continuation-NextTableName", encodeToken(next))
		}
		return rep, nil
	})
}

// list returns up to top table names from the given one on, and the first name not looked at.
func (s *store) list(filter node, top int, from string) (names []string, next string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, key := range s.tables.keys[s.tables.seek(from):] {
		if len(names) == top {
			return names, key
		}
		if name := s.tables.items[key].name; filter == nil || filter.matches(tableRow(name)) {
			names = append(names, name)
		}
	}
	return names, ""
}

func (enc encoder) tableName(b []byte, name string) []byte {
	b = enc.links(b, "Tables", "Tables('"+name+"')")
	b = append(b, `"TableName":`...)
	return closeObject(appendJSON(b, name))
}
