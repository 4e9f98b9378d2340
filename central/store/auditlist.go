package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/auditentry"
	"github.com/pureboot/pureboot/ent/predicate"
)

// AuditEntry is one act that somebody answers for.
type AuditEntry struct {
	ID        int64           `json:"id"`
	At        time.Time       `json:"at"`
	Who       string          `json:"who" doc:"admin:NAME of a token, site:NAME of an agent, init, central or unknown"`
	From      string          `json:"from_address"`
	Action    string          `json:"action" doc:"As site.create"`
	Subject   string          `json:"subject" doc:"As site/<id>"`
	Detail    string          `json:"detail"`
	Before    json.RawMessage `json:"before,omitempty" doc:"Secrets are left out"`
	After     json.RawMessage `json:"after,omitempty" doc:"Secrets are left out"`
	RequestID string          `json:"request_id"`
}

// AuditQuery selects audit entries; a zero field does not narrow.
type AuditQuery struct {
	Paging
	Who, Action, Subject string
	Since, Until         time.Time // from the one on, and before the other
}

// AuditEntries lists audit entries, the latest first.
func (s *Store) AuditEntries(ctx context.Context, q AuditQuery) (Page[AuditEntry], error) {
	var page Page[AuditEntry]
	limit, before, err := q.beforeNumber()
	if err != nil {
		return page, err
	}
	var which []predicate.AuditEntry
	for _, narrow := range []struct {
		value string
		is    func(string) predicate.AuditEntry
	}{{q.Who, auditentry.Who}, {q.Action, auditentry.Action}, {q.Subject, auditentry.Subject}} {
		if narrow.value != "" {
			which = append(which, narrow.is(narrow.value))
		}
	}
	if !q.Since.IsZero() {
		which = append(which, auditentry.AtGTE(q.Since.UTC()))
	}
	if !q.Until.IsZero() {
		which = append(which, auditentry.AtLT(q.Until.UTC()))
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.AuditEntry.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.AuditEntry.Query().Where(which...).Where(auditentry.IDLT(before)).
			Order(ent.Desc(auditentry.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(a *ent.AuditEntry) string { return strconv.FormatInt(a.ID, 10) }, auditRecord)
		return err
	})
	return page, err
}

func auditRecord(row *ent.AuditEntry) AuditEntry {
	return AuditEntry{
		ID: row.ID, At: row.At, Who: row.Who, From: row.FromAddress, Action: row.Action, Subject: row.Subject,
		Detail: row.Detail, Before: row.Before, After: row.After, RequestID: row.RequestID,
	}
}
