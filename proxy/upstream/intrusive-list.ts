/** A doubly linked list whose links live in its members: adding and removing anywhere is O(1) and allocates nothing. */
export interface Linked<T> {
  /** Owned by the list. */
  linkBefore: T | null;
  /** Owned by the list. */
  linkAfter: T | null;
}

/** A member stands in one list at a time; whoever adds it removes it. */
export class IntrusiveList<T extends Linked<T>> {
  first: T | null = null;
  last: T | null = null;
  size = 0;

  addFirst(member: T): void {
    member.linkAfter = this.first;
    if (this.first === null) this.last = member;
    else this.first.linkBefore = member;
    this.first = member;
    this.size++;
  }

  addLast(member: T): void {
    member.linkBefore = this.last;
    if (this.last === null) this.first = member;
    else this.last.linkAfter = member;
    this.last = member;
    this.size++;
  }

  /** `member` must stand in this list. */
  remove(member: T): void {
    if (member.linkBefore === null) this.first = member.linkAfter;
    else member.linkBefore.linkAfter = member.linkAfter;
    if (member.linkAfter === null) this.last = member.linkBefore;
    else member.linkAfter.linkBefore = member.linkBefore;
    member.linkBefore = null;
    member.linkAfter = null;
    this.size--;
  }
}
