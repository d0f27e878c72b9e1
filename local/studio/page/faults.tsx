import { useSignal } from '@preact/signals';
import { WEATHERS } from '../state.ts';
import { act, state } from './store.ts';
import { t } from './texts.ts';

interface Retried {
  readonly due: number;
  readonly summary: Readonly<Record<string, number>>;
}

/** Switches by which VVChat fails, and a button that does not wait for the next attempt. */
export function WeatherView() {
  const told = useSignal<Retried>();
  const isBusy = useSignal(false);
  const now = state.value.weather.get('now') ?? 'fine';
  const retry = async () => {
    isBusy.value = true;
    told.value = await act<Retried>('retry', {});
    isBusy.value = false;
  };
  return (
    <>
      <fieldset class="weathers">
        <legend>{t().weatherHint}</legend>
        {WEATHERS.map((weather) => {
          const [name, hint] = t().weathers[weather];
          return (
            <label key={weather}>
              <input
                type="radio"
                name="weather"
                checked={weather === now}
                onChange={() => void act('weather', { weather })}
              />
              <span>
                <strong>{name}</strong> {hint}
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
        <p role="status">{told.value && t().retried(told.value.due, summaryOf(told.value))}</p>
      </div>
    </>
  );
}

const summaryOf = ({ summary }: Retried): string =>
  Object.entries(summary)
    .map(([outcome, count]) => `${count} ${t().outcomes[outcome] ?? outcome}`)
    .join(', ') || t().nothingDue;
