import type { ReactNode } from 'react';

/** A table that scrolls by itself where it does not fit; `unseen` heads the columns whose buttons say it all. */
export function Table({ heads, unseen = [], children }: { heads: string[]; unseen?: string[]; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <div className="scroll" tabIndex={0}>
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
