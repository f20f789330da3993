package main

import (
	"context"
	"encoding/json"
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

type operation struct {
	Tenant    string `json:"tenant"`
	Operation string `json:"operation"`
	Kind      string `json:"kind"`
}

type sagaInput struct {
	Operation operation       `json:"operation"`
	Params    json.RawMessage `json:"params"`
}

type stepInput struct {
	Operation operation `json:"operation"`
	Step      string    `json:"step"`
	Epoch     int       `json:"epoch"`
	Params    any       `json:"params"`
}

var (
	tenantAttribute = temporal.NewSearchAttributeKeyKeyword("LeadlineTenant")
	kindAttribute   = temporal.NewSearchAttributeKeyKeyword("LeadlineKind")
	stateAttribute  = temporal.NewSearchAttributeKeyKeyword("LeadlineState")
)

// Two of the activities keep the operation's row, the others are steps; here they all do nothing.

func beginOperation(context.Context, stepInput) (string, error) { return "run", nil }

func doNothing(context.Context, stepInput) error { return nil }

// The saga run_drill (workflows/src/run_drill.rs) as one writes it with the Go SDK: the same activities in the same order with the
// same options, undos on a stack, a pivot, and no way back after it.
type drill struct {
	limits limits
}

func (d drill) run(ctx workflow.Context, input sagaInput) (result map[string]any, err error) {
	if err := takeDecisions(ctx); err != nil {
		return nil, err
	}
	attributes := []temporal.SearchAttributeUpdate{
		tenantAttribute.ValueSet(input.Operation.Tenant),
		kindAttribute.ValueSet(input.Operation.Kind),
		stateAttribute.ValueSet("running"),
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes...); err != nil {
		return nil, err
	}
	detached, _ := workflow.NewDisconnectedContext(ctx)
	var begun string
	if err := d.step(detached, input.Operation, "begin_operation", "begin_operation", "", nil).Get(detached, &begun); err != nil {
		return nil, err
	}
	if err := d.upToPivot(ctx, input); err != nil {
		return nil, errors.Join(err, d.close(detached, input.Operation, "failed", nil))
	}
	if err := d.step(detached, input.Operation, "debrief_drill", "debrief_drill", "after the pivot", input.Params).Get(detached, nil); err != nil {
		return nil, err
	}
	result = map[string]any{}
	return result, d.close(detached, input.Operation, "succeeded", result)
}

func (d drill) upToPivot(ctx workflow.Context, input sagaInput) (err error) {
	var undos []string
	defer func() {
		if err == nil {
			return
		}
		detached, _ := workflow.NewDisconnectedContext(ctx)
		for last := len(undos) - 1; last >= 0; last-- {
			undone := d.step(detached, input.Operation, undos[last], "prepare_drill", "undo", input.Params).Get(detached, nil)
			err = errors.Join(err, undone)
		}
	}()
	undos = append(undos, "clear_drill")
	if err := d.step(ctx, input.Operation, "prepare_drill", "prepare_drill", "step", input.Params).Get(ctx, nil); err != nil {
		return err
	}
	if err := d.step(ctx, input.Operation, "rehearse_drill", "rehearse_drill", "step", input.Params).Get(ctx, nil); err != nil {
		return err
	}
	return d.step(ctx, input.Operation, "complete_drill", "complete_drill", "pivot", input.Params).Get(ctx, nil)
}

func (d drill) close(ctx workflow.Context, of operation, state string, result any) error {
	ending := map[string]any{state: map[string]any{"result": result, "late_cancel": false}}
	if err := d.step(ctx, of, "close_operation", "close_operation", "", ending).Get(ctx, nil); err != nil {
		return err
	}
	return workflow.UpsertTypedSearchAttributes(ctx, stateAttribute.ValueSet(state))
}

func (d drill) step(ctx workflow.Context, of operation, activity, step, summary string, params any) workflow.Future {
	options := workflow.ActivityOptions{
		TaskQueue:              workflow.GetInfo(ctx).TaskQueueName,
		ScheduleToCloseTimeout: d.limits.Patience.duration(),
		StartToCloseTimeout:    d.limits.Attempt.duration(),
		HeartbeatTimeout:       d.limits.Heartbeat.duration(),
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    d.limits.FirstRetry.duration(),
			BackoffCoefficient: 2,
			MaximumInterval:    d.limits.LongestRetry.duration(),
		},
		Summary:               summary,
		Priority:              temporal.Priority{FairnessKey: of.Tenant},
		DisableEagerExecution: true,
	}
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activity, stepInput{of, step, 1, params})
}

// An operator's decisions, which a run takes only while it is parked; and nothing here parks.
func takeDecisions(ctx workflow.Context) error {
	refuse := func(workflow.Context, json.RawMessage) error {
		return errors.New("OPERATION_NOT_PARKED: the run does not wait")
	}
	for _, verb := range []string{"retry", "skip", "abandon"} {
		take := func(workflow.Context, json.RawMessage) error { return nil }
		if err := workflow.SetUpdateHandlerWithOptions(ctx, verb, take, workflow.UpdateHandlerOptions{Validator: refuse}); err != nil {
			return err
		}
	}
	return workflow.SetQueryHandler(ctx, "parked", func() (json.RawMessage, error) { return nil, nil })
}
