import { MAX_MEMBERSHIPS } from '../state.ts';
import { t } from './language.ts';
import { adminUrl, state } from './store.ts';

const FIRST = ['session_open_id', 'robot_open_id', 'robot_no', 'app_id', 'session_type'];

/** The rows of the memberships table. */
export function Memberships() {
  const rows = [...state.value.memberships];
  const columns = [...new Set([...FIRST, ...rows.flatMap(([, row]) => Object.keys(row).sort())])];
  return (
    <>
      <p class="hint">
        {t().membershipsHint}{' '}
        {/* dynamodb-admin answers to links of the studio alone, and knows them by their referrer. */}
        <a href={adminUrl.value} target="_blank" rel="noopener" referrerpolicy="origin">
          {t().openAdmin}
        </a>
      </p>
      {rows.length === 0 ? (
        <p class="hint">{t().emptyMemberships}</p>
      ) : (
        <div class="table" tabIndex={0} role="region" aria-label={t().views.memberships}>
          <table>
            <thead>
              <tr>
                {columns.map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(([id, row]) => (
                <tr key={id}>
                  {columns.map((name) => (
                    <td key={name}>{`${row[name] ?? ''}`}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length >= MAX_MEMBERSHIPS && <p class="hint">{t().moreMemberships}</p>}
    </>
  );
}
