import { effect } from '@preact/signals';
import { render } from 'preact';
import { ChatList } from './chat-list.tsx';
import { Conversation } from './conversation.tsx';
import { FaultsView } from './faults.tsx';
import { language, switchLanguage, t } from './language.ts';
import { Memberships } from './memberships.tsx';
import {
  becomePerson,
  failure,
  followWhileVisible,
  inspector,
  isConnected,
  isWide,
  person,
  showView,
  state,
  type View,
  view,
  views,
} from './store.ts';
import { TrafficView } from './traffic.tsx';

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
  document.title = t().title;
});

function App() {
  return (
    <div class="app" data-view={view.value}>
      <Header />
      <Notices />
      <nav class="views" aria-label={t().title}>
        {views.map((it) => (
          <ViewButton key={it} name={it} />
        ))}
      </nav>
      <ChatList />
      <Conversation />
      <Inspector />
    </div>
  );
}

function Header() {
  const fault = state.value.faults.get('now') ?? 'none';
  return (
    <header class="top">
      <h1>{t().title}</h1>
      <p class="subtitle">{t().subtitle}</p>
      {fault !== 'none' && (
        <button type="button" class="badge bad" onClick={() => showView('faults')}>
          {t().currentFault(t().faults[fault][0])}
        </button>
      )}
      <label class="you">
        <span>{t().you}</span>
        <select value={person.value?.open_id} onChange={(e) => becomePerson(e.currentTarget.value)}>
          {[...state.value.people.values()].map(({ open_id, name }) => (
            <option key={open_id} value={open_id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        class="language"
        lang={language.value === 'en' ? 'zh-CN' : 'en'}
        onClick={switchLanguage}
      >
        {t().otherLanguage}
      </button>
    </header>
  );
}

function Notices() {
  const { value: failed } = failure;
  return (
    <div class="notices" role="status">
      {!isConnected.value && <p>{t().disconnected}</p>}
      {failed && <p>{[t().errors[failed.code], failed.detail].filter(Boolean).join(' ')}</p>}
    </div>
  );
}

function ViewButton({ name }: { name: View }) {
  const shown = isWide.value ? inspector.value : view.value;
  return (
    <button
      type="button"
      data-name={name}
      aria-current={shown === name ? 'page' : undefined}
      onClick={() => showView(name)}
    >
      {t().views[name]}
    </button>
  );
}

/** Beside the chat in a wide window, in its place in a narrow one. */
function Inspector() {
  const name = inspector.value;
  return (
    <section class="inspector" aria-label={t().views[name]} data-name={name}>
      {name === 'traffic' && <TrafficView />}
      {name === 'memberships' && <Memberships />}
      {name === 'faults' && <FaultsView />}
    </section>
  );
}

followWhileVisible();
render(<App />, document.body);
