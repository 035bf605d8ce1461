"""After a collapse: go back to the last healthy checkpoint, change one thing, continue."""

from tqdm import tqdm

from runtime.training.optim import scale_lr
from runtime.training.state import restore_best, where
from runtime.training.watch import Watch

# One remedy of the objective's own, then lower and lower learning rates; what collapses still needs other settings.
MOST_REMEDIES = 4
LOWER_LR = 0.1


def recover(watch: Watch, reason: str) -> bool:
    """Return to the last healthy state, change one thing and print it; False if nothing is left to change.

    First the objective's own remedy (``criterion.soften``), then lower and lower learning rates. Remedies stay for
    the rest of the run: a checkpoint with the new one takes the place of the healthy one.
    """
    state, run = watch.state, watch.run
    content = state.healthy and run.store.load(state.healthy)
    if not content or len(state.remedies) >= MOST_REMEDIES:
        return False
    state.load_state_dict(content, str(run.path))
    remedy = state.criterion.soften()
    if not remedy:
        scale_lr(state.optimiser, state.scheduler, LOWER_LR)
        remedy = f"learning rate × {LOWER_LR}"
    state.remedies.append(remedy)
    tqdm.write(f"{reason}; back to {where(state.position)} with one change: {remedy}")
    watch.save()
    restore_best(state, run)
    run.write_log(state.history)
    return True
