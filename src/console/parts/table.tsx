import type { ReactNode } from 'react';

/** A table that scrolls by itself where it does not fit; `unseen` heads the columns whose buttons say it all. */
export function Table({ heads, unseen = [], children }: { heads: string[]; unseen?: string[]; children: ReactNode }) {
  return (
    <div className="scroll">
      <table className="table">
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {unseen.includes(head) ? <span className="unseen">{head}</span> : head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
