package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/workflow"
)

// WorkflowSpec is what an administrator may say of a workflow.
type WorkflowSpec struct {
	Name          string            `json:"name" minLength:"1" maxLength:"100"`
	Arch          string            `json:"arch,omitempty" enum:"x86_64,arm64" doc:"Left out: any"`
	BootMode      string            `json:"boot_mode,omitempty" enum:"bios,uefi" doc:"Left out: any"`
	InstallMethod string            `json:"install_method" enum:"kernel,sanboot,chain" doc:"How the installer is booted"`
	Kernel        string            `json:"kernel,omitempty" maxLength:"512" doc:"Content path, as images/debian-12/linux"`
	Initrd        []string          `json:"initrd,omitempty" maxItems:"16" doc:"Content paths"`
	Cmdline       string            `json:"cmdline,omitempty" maxLength:"4096"`
	BootURL       string            `json:"boot_url,omitempty" maxLength:"2048" doc:"What sanboot or chain is given"`
	Template      string            `json:"template,omitempty" maxLength:"512" doc:"Content path"`
	Params        map[string]string `json:"params,omitempty"`
}

// Check returns what is wrong with the workflow, but for whether its paths can name content.
func (w *WorkflowSpec) Check() []wire.ProblemField {
	var f faults
	f.name("name", w.Name)
	for field, s := range map[string]string{
		"kernel": w.Kernel, "cmdline": w.Cmdline, "boot_url": w.BootURL, "template": w.Template,
	} {
		f.line(field, s, maxParam)
	}
	for i, path := range w.Initrd {
		f.line(fmt.Sprintf("initrd[%d]", i), path, maxParam)
	}
	f.params("params", w.Params)
	switch w.InstallMethod {
	case "kernel":
		if w.Kernel == "" {
			f.add("kernel", nil, "a workflow that boots a kernel needs one")
		}
	case "sanboot", "chain":
		if w.BootURL == "" {
			f.add("boot_url", nil, "a workflow that uses %s needs one", w.InstallMethod)
		}
	}
	return f
}

// CreateWorkflow makes a workflow.
func (s *Store) CreateWorkflow(ctx context.Context, by Actor, spec WorkflowSpec) (wire.Workflow, error) {
	var made wire.Workflow
	err := s.Write(ctx, func(tx *ent.Tx) error {
		if err := checkWorkflow(ctx, tx, uuid.Nil, &spec); err != nil {
			return err
		}
		create := tx.Workflow.Create()
		setWorkflow(create.Mutation(), spec)
		row, err := create.Save(ctx)
		if err != nil {
			return fmt.Errorf("create workflow: %w", err)
		}
		made = workflowRecord(row)
		if err := noteWorkflow(ctx, tx, by, made); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: "workflow.create", Subject: "workflow/" + made.ID, After: made})
	})
	return made, err
}

// Workflow returns a workflow.
func (s *Store) Workflow(ctx context.Context, id uuid.UUID) (wire.Workflow, error) {
	row, err := s.reader.Workflow.Get(ctx, id)
	if err != nil {
		return wire.Workflow{}, missing(err)
	}
	return workflowRecord(row), nil
}

// Workflows lists the workflows by name.
func (s *Store) Workflows(ctx context.Context, paging Paging) (Page[wire.Workflow], error) {
	var page Page[wire.Workflow]
	limit, after, err := paging.start()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.Workflow.Query().Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.Workflow.Query().Where(workflow.NameGT(after)).Order(ent.Asc(workflow.FieldName)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(w *ent.Workflow) string { return w.Name }, workflowRecord)
		return err
	})
	return page, err
}

// UpdateWorkflow changes a workflow by edit, which gets what it is and returns what it shall be. An ifRevision other
// than 0 must be that of the workflow, else the error is ErrVersion. The nodes that use it change for their agents.
func (s *Store) UpdateWorkflow(ctx context.Context, by Actor, id uuid.UUID, ifRevision int64, edit func(WorkflowSpec) (WorkflowSpec, error)) (wire.Workflow, error) {
	var changed wire.Workflow
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Workflow.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		if ifRevision != 0 && ifRevision != row.Revision {
			return ErrVersion
		}
		before := workflowRecord(row)
		spec, err := edit(workflowSpec(before))
		if err != nil {
			return err
		}
		if err := checkWorkflow(ctx, tx, id, &spec); err != nil {
			return err
		}
		update := row.Update().AddRevision(1)
		setWorkflow(update.Mutation(), spec)
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("update workflow: %w", err)
		}
		changed = workflowRecord(row)
		if err := noteWorkflow(ctx, tx, by, changed); err != nil {
			return err
		}
		err = Audit(ctx, tx, by, Act{Action: "workflow.update", Subject: "workflow/" + changed.ID, Before: before, After: changed})
		if err != nil {
			return err
		}
		return touchUsers(ctx, tx, id)
	})
	return changed, err
}

// DeleteWorkflow deletes a workflow that no node and no group names, else the error is a *Conflict. ifRevision is as
// that of UpdateWorkflow.
func (s *Store) DeleteWorkflow(ctx context.Context, by Actor, id uuid.UUID, ifRevision int64) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Workflow.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		if ifRevision != 0 && ifRevision != row.Revision {
			return ErrVersion
		}
		nodes, err := tx.Node.Query().Where(node.WorkflowID(id)).Count(ctx)
		if err != nil {
			return err
		}
		groups, err := tx.DeviceGroup.Query().Where(devicegroup.DefaultWorkflowID(id)).Count(ctx)
		if err != nil {
			return err
		}
		ordered, err := tx.Node.Query().Where(node.NextBoot(id.String())).Count(ctx)
		if err != nil {
			return err
		}
		var uses []string
		for _, use := range []struct {
			count          int
			one, otherwise string
		}{
			{nodes, "the workflow of 1 node", "the workflow of %d nodes"},
			{groups, "the default of 1 site or group", "the default of %d sites and groups"},
			{ordered, "the next boot of 1 node", "the next boot of %d nodes"},
		} {
			switch use.count {
			case 0:
			case 1:
				uses = append(uses, use.one)
			default:
				uses = append(uses, fmt.Sprintf(use.otherwise, use.count))
			}
		}
		if len(uses) > 0 {
			return &Conflict{Message: "the workflow is in use: it is " + strings.Join(uses, ", and ")}
		}
		if err := tx.Workflow.DeleteOne(row).Exec(ctx); err != nil {
			return fmt.Errorf("delete workflow: %w", err)
		}
		if err := NoteDelete(ctx, tx, WorkflowEntity, id); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: "workflow.delete", Subject: "workflow/" + id.String(), Before: workflowRecord(row)})
	})
}

// touchUsers lets the agents know of every node that runs a workflow, on its own account or by default.
func touchUsers(ctx context.Context, tx *ent.Tx, id uuid.UUID) error {
	roots, err := tx.DeviceGroup.Query().Where(devicegroup.DefaultWorkflowID(id)).IDs(ctx)
	if err != nil {
		return err
	}
	nodes := node.Or(node.WorkflowID(id), node.NextBoot(id.String()))
	homes := homeTo(nodes)
	if len(roots) > 0 {
		nodes, homes = node.Or(nodes, inheriting(roots...)), devicegroup.Or(homes, homesOf(roots...))
	}
	return touch(ctx, tx, nodes, homes)
}

func checkWorkflow(ctx context.Context, tx *ent.Tx, id uuid.UUID, spec *WorkflowSpec) error {
	if err := faults(spec.Check()).err(); err != nil {
		return err
	}
	taken, err := tx.Workflow.Query().Where(workflow.Name(spec.Name), workflow.IDNEQ(id)).Exist(ctx)
	if err != nil {
		return err
	}
	if taken {
		return &Conflict{Field: "body.name", Message: fmt.Sprintf("there is a workflow named %q already", spec.Name)}
	}
	return nil
}

func setWorkflow(m *ent.WorkflowMutation, spec WorkflowSpec) {
	m.SetName(spec.Name)
	optional(some[workflow.Arch](spec.Arch), m.SetArch, m.ClearArch)
	optional(some[workflow.BootMode](spec.BootMode), m.SetBootMode, m.ClearBootMode)
	m.SetInstallMethod(workflow.InstallMethod(spec.InstallMethod))
	m.SetKernel(spec.Kernel)
	m.SetInitrd(list(spec.Initrd))
	m.SetCmdline(spec.Cmdline)
	m.SetBootURL(spec.BootURL)
	m.SetTemplate(spec.Template)
	m.SetParams(texts(spec.Params))
}

func workflowSpec(w wire.Workflow) WorkflowSpec {
	return WorkflowSpec{
		Name: w.Name, Arch: w.Arch, BootMode: w.BootMode, InstallMethod: w.InstallMethod, Kernel: w.Kernel, Initrd: w.Initrd,
		Cmdline: w.Cmdline, BootURL: w.BootURL, Template: w.Template, Params: w.Params,
	}
}

func workflowRecord(row *ent.Workflow) wire.Workflow {
	w := wire.Workflow{
		ID: row.ID.String(), Name: row.Name, InstallMethod: string(row.InstallMethod), Kernel: row.Kernel,
		Initrd: list(row.Initrd), Cmdline: row.Cmdline, BootURL: row.BootURL, Template: row.Template,
		Params: texts(row.Params), Revision: row.Revision, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if row.Arch != nil {
		w.Arch = string(*row.Arch)
	}
	if row.BootMode != nil {
		w.BootMode = string(*row.BootMode)
	}
	return w
}

// list and texts keep null out of the database and of answers.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func texts(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
