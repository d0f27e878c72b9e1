import { useSignal } from '@preact/signals';
import type { Outcome, Summary } from '../../../lib/delivery/delivery.ts';
import { FAULTS } from '../state.ts';
import { t } from './language.ts';
import { act, state } from './store.ts';

interface Retried {
  readonly due: number;
  readonly summary: Summary;
}

/** Makes VVChat fail, and runs `retry` ahead of its time. */
export function FaultsView() {
  const retried = useSignal<Retried>();
  const isBusy = useSignal(false);
  const current = state.value.faults.get('now') ?? 'none';
  const retry = async () => {
    isBusy.value = true;
    retried.value = await act<Retried>('retry', {});
    isBusy.value = false;
  };
  return (
    <>
      <fieldset class="faults">
        <legend>{t().faultsHint}</legend>
        {FAULTS.map((fault) => {
          const [name, effect] = t().faults[fault];
          return (
            <label key={fault}>
              <input
                type="radio"
                name="fault"
                checked={fault === current}
                onChange={() => void act('faults', { fault })}
              />
              <span>
                <strong>{name}</strong> {effect}
              </span>
            </label>
          );
        })}
      </fieldset>
      <div class="retry">
        <button type="button" class="primary" disabled={isBusy.value} onClick={retry}>
          {t().retryNow}
        </button>
        <p class="hint">{t().retryHint}</p>
        <p role="status">
          {retried.value && t().retried(retried.value.due, summaryOf(retried.value))}
        </p>
      </div>
    </>
  );
}

const summaryOf = ({ summary }: Retried): string =>
  Object.entries(summary)
    .map(([outcome, count]) => `${count} ${t().outcomes[outcome as Outcome]}`)
    .join(', ') || t().nothingDue;
