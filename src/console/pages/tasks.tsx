/** What needs an administrator's hand: worksheets, each task said to be done, and closed by what is seen. */
import { Button } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { get, type Items, type Listed, post, query, type Task, type Worksheet } from '../api.ts';
import { useMay } from '../parts/session.ts';
import { Asked, Empty, Fault, Page, Told } from '../parts/shown.tsx';
import { useWords } from '../words/index.tsx';

export function Tasks() {
  const { t, number, time } = useWords();
  const [kind, setKind] = useState<string | null>(null);
  const sheets = useQuery({ queryKey: ['tasks'], queryFn: () => get<Items<Worksheet>>('/tasks/worksheets') });
  return (
    <Page title={t('tasks')} lead={t('tasks.lead')}>
      <Asked of={sheets}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{t('tasks.none')}</Empty>
          ) : (
            <>
              <ul className="cards plain">
                {items.map((sheet) => (
                  <li className="card" key={sheet.kind}>
                    <h2>
                      <Told>{sheet.title}</Told>
                    </h2>
                    <p>
                      {t('tasks.count', { count: sheet.tasks })}
                      {sheet.overdue > 0 ? ` · ${t('tasks.overdue', { count: sheet.overdue })}` : ''} ·{' '}
                      {t('tasks.due', { time: time(sheet.dueAt) })}
                    </p>
                    <div className="tools">
                      <Button
                        aria-pressed={kind === sheet.kind}
                        onClick={() => setKind(kind === sheet.kind ? null : sheet.kind)}
                      >
                        {t('tasks.show', { count: number(sheet.tasks) })}
                      </Button>
                      <Button as="a" href={sheet.csv} download={`${sheet.kind}.csv`}>
                        CSV
                      </Button>
                    </div>
                  </li>
                ))}
              </ul>
              {kind ? <Sheet kind={kind} /> : null}
            </>
          )
        }
      </Asked>
    </Page>
  );
}

function Sheet({ kind }: { kind: string }) {
  const { t } = useWords();
  const mayWrite = useMay('operator');
  const client = useQueryClient();
  const tasks = useQuery({
    queryKey: ['tasks', kind],
    queryFn: () => get<Listed<Task>>(`/tasks${query({ kind, limit: 200 })}`),
  });
  const done = useMutation({
    mutationFn: (taskId: string) => post<Task>(`/tasks/${taskId}/done`),
    onSettled: () => client.invalidateQueries(),
  });
  return (
    <Asked of={tasks}>
      {({ items, total }) => (
        <ul className="plain">
          {total > items.length ? <li>{t('tasks.first', { count: items.length, all: total })}</li> : null}
          {items.map((task) => (
            <li className="card" key={task.taskId}>
              <h3>
                <Link href={`/people/${task.personId}`}>{task.who}</Link>
              </h3>
              <p>
                <Told>{task.title}</Told>
              </p>
              <ol>
                {task.instructions.map((line) => (
                  <li key={line}>
                    <Told>{line}</Told>
                  </li>
                ))}
              </ol>
              {task.contradiction ? (
                <p role="status">
                  <Told>{task.contradiction}</Told>
                </p>
              ) : null}
              {task.saidBy ? <p className="muted">{t('tasks.said', { by: task.saidBy })}</p> : null}
              {mayWrite ? (
                <Button disabledFocusable={done.isPending} onClick={() => done.mutate(task.taskId)}>
                  {t('tasks.done')}
                </Button>
              ) : null}
              {done.isError && done.variables === task.taskId ? <Fault error={done.error} /> : null}
            </li>
          ))}
        </ul>
      )}
    </Asked>
  );
}
