/** A page that breaks takes nothing else with it: the frame stays, and it can be tried again. */
import { Component, type ReactNode } from 'react';
import { Problem } from '../api.ts';
import { Fault } from './shown.tsx';

interface Props {
  /** Another place begins anew. */
  place: string;
  children: ReactNode;
}

export class Boundary extends Component<Props, { error: unknown; place: string }> {
  override state = { error: null as unknown, place: this.props.place };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  static getDerivedStateFromProps({ place }: Props, state: { error: unknown; place: string }) {
    return place === state.place ? null : { error: null, place };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    // A file of a page that is gone was of an older version: the whole of the new one is asked for.
    const { error } = this.state;
    const isFile = error instanceof TypeError && /dynamically imported|Importing a module/.test(error.message);
    return (
      <Fault error={isFile ? new Problem(0, { code: 'offline' }) : error} again={() => window.location.reload()} />
    );
  }
}
