import { effect } from '@preact/signals';
import { render } from 'preact';
import { ChatList } from './chat-list.tsx';
import { Conversation } from './conversation.tsx';
import { WeatherView } from './faults.tsx';
import { Memberships } from './memberships.tsx';
import {
  be,
  fault,
  followInView,
  inspector,
  isConnected,
  isWide,
  lookAt,
  person,
  state,
  type View,
  view,
  views,
} from './store.ts';
import { language, switchLanguage, t } from './texts.ts';
import { WireView } from './traffic.tsx';

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
  const weather = state.value.weather.get('now') ?? 'fine';
  return (
    <header class="top">
      <h1>{t().title}</h1>
      <p class="subtitle">{t().subtitle}</p>
      {weather !== 'fine' && (
        <button type="button" class="badge bad" onClick={() => lookAt('weather')}>
          {t().weatherNow(t().weathers[weather][0])}
        </button>
      )}
      <label class="you">
        <span>{t().you}</span>
        <select value={person.value?.open_id} onChange={(e) => be(e.currentTarget.value)}>
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
        {t().language}
      </button>
    </header>
  );
}

function Notices() {
  return (
    <div class="notices" role="status">
      {!isConnected.value && <p>{t().disconnected}</p>}
      {fault.value && <p>{fault.value}</p>}
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
      onClick={() => lookAt(name)}
    >
      {t().views[name]}
    </button>
  );
}

/** Beside the chat in a wide window; in a narrow one, in its place. */
function Inspector() {
  const name = inspector.value;
  return (
    <section class="inspector" aria-label={t().views[name]} data-name={name}>
      {name === 'wire' && <WireView />}
      {name === 'memberships' && <Memberships />}
      {name === 'weather' && <WeatherView />}
    </section>
  );
}

followInView();
render(<App />, document.body);
