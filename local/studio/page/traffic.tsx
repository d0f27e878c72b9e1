import { useSignal } from '@preact/signals';
import type { Exchange, Row } from '../state.ts';
import { clockOf } from './conversation.tsx';
import { useFocus } from './focus.ts';
import { t } from './language.ts';
import { act, robotName, state } from './store.ts';

const FILTERS = ['all', 'events', 'commands'] as const;

/** Every event and every command as JSON, newest first, with its response and inbox row. */
export function TrafficView() {
  const filter = useSignal<(typeof FILTERS)[number]>('all');
  const all = [...state.value.exchanges.values()].reverse();
  const shown = all.filter(
    ({ kind }) => filter.value === 'all' || (kind === 'event') === (filter.value === 'events'),
  );
  return (
    <>
      <fieldset class="filters">
        <legend class="hidden">{t().views.traffic}</legend>
        {FILTERS.map((it) => (
          <label key={it}>
            <input
              type="radio"
              name="filter"
              checked={it === filter.value}
              onChange={() => (filter.value = it)}
            />
            {t()[it]}
          </label>
        ))}
      </fieldset>
      {all.length === 0 && <p class="hint">{t().emptyTraffic}</p>}
      <ol class="traffic">
        {shown.map((it) => (
          <li key={it.id}>
            <ExchangeView exchange={it} />
          </li>
        ))}
      </ol>
    </>
  );
}

function ExchangeView({ exchange }: { exchange: Exchange }) {
  const { id, kind, name, body, answer, at, ms, status, robot_no, failure } = exchange;
  const isOpen = useSignal(false);
  const edited = useSignal<string>();
  const wasEdited = useSignal(false);
  const row = state.value.rows.get(exchange.row ?? '');
  return (
    <details
      id={`exchange-${id}`}
      open={isOpen.value}
      onToggle={(e) => (isOpen.value = e.currentTarget.open)}
    >
      <summary>
        <span class={`way ${kind}`}>
          {kind === 'event' ? '→' : '←'} {t().exchangeKinds[kind]}
        </span>
        <code>{name}</code>
        <span class="who">{robotName(robot_no)}</span>
        <Status status={status} />
        {ms !== undefined && <span class="ms">{Math.round(ms)} ms</span>}
        {row && <RowBadge row={row} />}
        <time dateTime={new Date(at).toISOString()}>{clockOf(at)}</time>
      </summary>
      {isOpen.value && (
        <div class="exchange">
          {kind === 'event' && edited.value === undefined && (
            <EventTools
              body={body}
              isFocused={wasEdited.value}
              onEdit={() => (edited.value = pretty(body))}
            />
          )}
          {edited.value !== undefined && (
            <Editor
              text={edited.value}
              onText={(it) => (edited.value = it)}
              onClose={() => {
                edited.value = undefined;
                wasEdited.value = true;
              }}
            />
          )}
          <ValidationErrors answer={answer} />
          {row && <RowDetails row={row} />}
          <h3>{t().request}</h3>
          <Json text={body} />
          <h3>{t().response}</h3>
          {status === undefined && <p>{t().waiting}</p>}
          {failure !== undefined && <p>{`${t().noResponse} (${failure})`}</p>}
          {answer !== undefined && <Json text={answer} />}
        </div>
      )}
    </details>
  );
}

const EventTools = (props: { body: string; isFocused: boolean; onEdit: () => void }) => (
  <div class="tools">
    <button
      type="button"
      title={t().sendAgainHint}
      onClick={() => void act('post', { body: props.body })}
    >
      {t().sendAgain}
    </button>
    <button type="button" ref={useFocus<HTMLButtonElement>(props.isFocused)} onClick={props.onEdit}>
      {t().edit}
    </button>
  </div>
);

function Status({ status }: { status: number | undefined }) {
  if (status === undefined) return <span class="badge">{t().waiting}</span>;
  if (status === 0) return <span class="badge bad">{t().noResponse}</span>;
  return <span class={`badge ${status < 300 ? 'good' : 'bad'}`}>{status}</span>;
}

const ROW_COLOURS = {
  pending: '',
  replied: 'good',
  ignored: '',
  failed: 'bad',
} as const satisfies Record<Row['status'], 'good' | 'bad' | ''>;

function RowBadge({ row: { status, claims } }: { row: Row }) {
  return (
    <span class={`badge row ${ROW_COLOURS[status]}`}>
      {t().statuses[status]}
      {claims > 1 && ` · ${t().claims(claims)}`}
    </span>
  );
}

function RowDetails({ row }: { row: Row }) {
  const { status, phase, claims, sent, next_attempt_at, last_error, unknown } = row;
  const time = next_attempt_at && clockOf(Date.parse(next_attempt_at));
  const isFailed = status === 'failed';
  return (
    <>
      <h3>{t().row}</h3>
      <ul class="details">
        <li>
          {t().statuses[status]} · {t().claims(claims)} · {t().commandsSent(sent)}
        </li>
        {status === 'pending' && phase && <li>{t().phases[phase]}</li>}
        {time && <li>{isFailed ? t().failedAt(time) : t().nextAttempt(time)}</li>}
        {last_error && <li>{last_error}</li>}
        {unknown && <li>{t().outcomeUnknown(unknown.map((it) => it + 1).join(', '))}</li>}
      </ul>
    </>
  );
}

/** The errors that the webhook found in an event, and where. */
function ValidationErrors({ answer }: { answer: string | undefined }) {
  const errors = errorsIn(answer);
  if (errors.length === 0) return null;
  return (
    <>
      <h3>{t().validationErrors}</h3>
      <ul class="details">
        {errors.map(({ pointer, detail }) => (
          <li key={pointer}>
            <code>{pointer || '/'}</code> {detail}
          </li>
        ))}
      </ul>
    </>
  );
}

function Editor(props: { text: string; onText: (text: string) => void; onClose: () => void }) {
  const send = async () => {
    props.onClose();
    await act('post', { body: props.text });
  };
  return (
    <div class="editor">
      <textarea
        aria-label={t().body}
        ref={useFocus<HTMLTextAreaElement>()}
        rows={14}
        spellcheck={false}
        value={props.text}
        onInput={(e) => props.onText(e.currentTarget.value)}
      />
      <div class="tools">
        <button type="button" class="primary" onClick={send}>
          {t().send}
        </button>
        <button type="button" onClick={props.onClose}>
          {t().cancel}
        </button>
      </div>
    </div>
  );
}

const Json = ({ text }: { text: string }) => <pre tabIndex={0}>{pretty(text)}</pre>;

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function errorsIn(answer = ''): readonly { pointer: string; detail: string }[] {
  try {
    const { errors } = JSON.parse(answer);
    return Array.isArray(errors) ? errors : [];
  } catch {
    return [];
  }
}
