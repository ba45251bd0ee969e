/** Three votes, two of them given: a quorum. */
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <svg className="kv-logo" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path d="M16 8 7.5 23h17z" fill="none" stroke="currentColor" strokeWidth="2" />
      <circle cx="16" cy="8" r="4.5" fill="currentColor" />
      <circle cx="7.5" cy="23" r="4.5" fill="currentColor" />
      <circle className="kv-logo-hollow" cx="24.5" cy="23" r="3.6" stroke="currentColor" strokeWidth="2" />
    </svg>
  );
}
